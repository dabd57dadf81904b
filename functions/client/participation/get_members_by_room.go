package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getMembersByRoom returns the membership events of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
var getMembersByRoom = route.Route{
	Name:      "getMembersByRoom",
	Pattern:   "GET /_matrix/client/v3/rooms/{roomId}/members",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Size:      route.Large,
	Unbounded: true,
	Uses:      timeline.Shows,
	Handler:   route.Handle(home.Timeline, serveGetMembersByRoom),
}

type getMembersByRoomRequest struct {
	RoomID        string `path:"roomId"`
	At            string `query:"at"`
	Membership    string `query:"membership"`
	NotMembership string `query:"not_membership"`
}

type getMembersByRoomResponse struct {
	Chunk []json.RawMessage `json:"chunk"`
}

func serveGetMembersByRoom(ctx context.Context, s *timeline.Service, c route.Caller, req *getMembersByRoomRequest) (*getMembersByRoomResponse, error) {
	events, err := s.MemberEvents(ctx, viewer(c), timeline.MembersRequest{
		Room: req.RoomID, At: req.At, Membership: req.Membership, NotMembership: req.NotMembership,
	})
	return &getMembersByRoomResponse{events}, err
}
