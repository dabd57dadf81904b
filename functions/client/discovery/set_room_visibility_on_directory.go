package discovery

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// setRoomVisibilityOnDirectory publishes a room, or does so no longer.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
var setRoomVisibilityOnDirectory = route.Route{
	Name:    "setRoomVisibilityOnDirectory",
	Pattern: "PUT /_matrix/client/v3/directory/list/room/{roomId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    rooms.Publishes,
	Handler: route.Handle(home.Rooms, serveSetRoomVisibilityOnDirectory),
}

type setRoomVisibilityOnDirectoryRequest struct {
	RoomID     string `path:"roomId"`
	Visibility string `json:"visibility"`
}

func serveSetRoomVisibilityOnDirectory(ctx context.Context, s *rooms.Service, c route.Caller, req *setRoomVisibilityOnDirectoryRequest) (*route.Empty, error) {
	switch req.Visibility {
	case "", "public", "private":
	default:
		return nil, mxerr.InvalidParam("visibility must be public or private.")
	}
	return &route.Empty{}, s.SetPublished(ctx, c.UserID, req.RoomID, req.Visibility != "private")
}
