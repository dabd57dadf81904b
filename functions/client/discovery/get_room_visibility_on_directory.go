package discovery

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// getRoomVisibilityOnDirectory tells whether a room is published.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
var getRoomVisibilityOnDirectory = route.Route{
	Name:    "getRoomVisibilityOnDirectory",
	Pattern: "GET /_matrix/client/v3/directory/list/room/{roomId}",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitRequest,
	Uses:    rooms.ReadsPublished,
	Handler: route.Handle(home.Rooms, serveGetRoomVisibilityOnDirectory),
}

type getRoomVisibilityOnDirectoryRequest struct {
	RoomID string `path:"roomId"`
}

type getRoomVisibilityOnDirectoryResponse struct {
	Visibility string `json:"visibility"`
}

func serveGetRoomVisibilityOnDirectory(ctx context.Context, s *rooms.Service, _ route.Caller, req *getRoomVisibilityOnDirectoryRequest) (*getRoomVisibilityOnDirectoryResponse, error) {
	public, err := s.IsPublished(ctx, req.RoomID)
	if err != nil {
		return nil, err
	}
	if public {
		return &getRoomVisibilityOnDirectoryResponse{"public"}, nil
	}
	return &getRoomVisibilityOnDirectoryResponse{"private"}, nil
}
