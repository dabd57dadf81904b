package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// kick removes a user from the room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
var kick = route.Route{
	Name:    "kick",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/kick",
	Also:    route.R0,
	Limit:   route.LimitMessage,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveKick),
}

func serveKick(ctx context.Context, s *rooms.Service, c route.Caller, req *target) (*route.Empty, error) {
	return &route.Empty{}, s.Kick(ctx, req.RoomID, req.by(c))
}
