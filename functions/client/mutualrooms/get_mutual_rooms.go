package mutualrooms

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// getMutualRooms lists the rooms that the requesting user shares with another.
// Before Matrix 1.19 the path and two of the names were others; each request is
// answered with both.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
var getMutualRooms = route.Route{
	Name:    "getMutualRooms",
	Pattern: "GET /_matrix/client/v1/mutual_rooms",
	Also:    route.Also{"/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"},
	Limit:   route.LimitRequest,
	Uses:    userlog.Reads,
	Handler: route.Handle(home.Timeline, serveGetMutualRooms),
}

// page is how many rooms an answer has.
const page = 100

type getMutualRoomsRequest struct {
	UserID     string `query:"user_id" required:"true"`
	From       string `query:"from"`
	BatchToken string `query:"batch_token"`
}

type getMutualRoomsResponse struct {
	Joined         []string `json:"joined"`
	Count          int      `json:"count"`
	NextBatch      string   `json:"next_batch,omitempty"`
	NextBatchToken string   `json:"next_batch_token,omitempty"`
}

func serveGetMutualRooms(ctx context.Context, s *timeline.Service, c route.Caller, req *getMutualRoomsRequest) (*getMutualRoomsResponse, error) {
	switch {
	case !id.ValidUser(req.UserID):
		return nil, mxerr.InvalidParam("%q is not a user id.", req.UserID)
	case req.UserID == c.UserID:
		return nil, mxerr.InvalidParam("You share all of your rooms with yourself.")
	}
	after, err := afterRoom(cmp.Or(req.From, req.BatchToken))
	if err != nil {
		return nil, err
	}
	rooms, err := s.MutualRooms(ctx, c.UserID, req.UserID)
	if err != nil {
		return nil, err
	}
	return pageOf(rooms, after), nil
}

// pageOf is the page of sorted rooms that begins after one.
func pageOf(rooms []string, after string) *getMutualRoomsResponse {
	resp := &getMutualRoomsResponse{Count: len(rooms)}
	i, _ := slices.BinarySearch(rooms, after+"\x00") // what comes after it
	if resp.Joined = rooms[i:]; len(resp.Joined) > page {
		resp.Joined = resp.Joined[:page]
		resp.NextBatch = base64.RawURLEncoding.EncodeToString([]byte(resp.Joined[page-1]))
		resp.NextBatchToken = resp.NextBatch
	}
	return resp
}

// afterRoom reads a token: the last room of the page before. So it never expires,
// and no room that stays is told twice or left out.
func afterRoom(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	room, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !id.ValidRoom(string(room)) {
		return "", mxerr.InvalidParam("The token is not one of this server; start without it.")
	}
	return string(room), nil
}
