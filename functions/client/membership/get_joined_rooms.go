package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/userlog"
)

// getJoinedRooms lists the rooms the requesting user is in.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
var getJoinedRooms = route.Route{
	Name:    "getJoinedRooms",
	Pattern: "GET /_matrix/client/v3/joined_rooms",
	Also:    route.R0,
	Uses:    userlog.Reads,
	Handler: route.Handle(home.Rooms, serveGetJoinedRooms),
}

type getJoinedRoomsResponse struct {
	JoinedRooms []string `json:"joined_rooms"`
}

func serveGetJoinedRooms(ctx context.Context, s *rooms.Service, c route.Caller, _ *route.Empty) (*getJoinedRoomsResponse, error) {
	joined, err := s.Joined(ctx, c.UserID)
	if err != nil {
		return nil, err
	}
	return &getJoinedRoomsResponse{joined}, nil
}
