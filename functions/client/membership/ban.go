package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// ban removes a user from the room for good.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
var ban = route.Route{
	Name:    "ban",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/ban",
	Also:    route.R0,
	Limit:   route.LimitMessage,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveBan),
}

func serveBan(ctx context.Context, s *rooms.Service, c route.Caller, req *target) (*route.Empty, error) {
	return &route.Empty{}, s.Ban(ctx, req.RoomID, req.by(c))
}
