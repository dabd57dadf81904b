package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getJoinedMembersByRoom returns who is in a room, with names and avatars.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
var getJoinedMembersByRoom = route.Route{
	Name:      "getJoinedMembersByRoom",
	Pattern:   "GET /_matrix/client/v3/rooms/{roomId}/joined_members",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Unbounded: true,
	Uses:      timeline.CountsMembers,
	Handler:   route.Handle(home.Timeline, serveGetJoinedMembersByRoom),
}

type getJoinedMembersByRoomRequest struct {
	RoomID string `path:"roomId"`
}

type getJoinedMembersByRoomResponse struct {
	Joined map[string]timeline.JoinedMember `json:"joined"`
}

func serveGetJoinedMembersByRoom(ctx context.Context, s *timeline.Service, c route.Caller, req *getJoinedMembersByRoomRequest) (*getJoinedMembersByRoomResponse, error) {
	joined, err := s.JoinedMembers(ctx, c.UserID, req.RoomID)
	return &getJoinedMembersByRoomResponse{joined}, err
}
