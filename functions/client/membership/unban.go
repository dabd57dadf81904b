package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// unban lets a banned user come back.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
var unban = route.Route{
	Name:    "unban",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/unban",
	Also:    route.R0,
	Limit:   route.LimitMessage,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveUnban),
}

func serveUnban(ctx context.Context, s *rooms.Service, c route.Caller, req *target) (*route.Empty, error) {
	return &route.Empty{}, s.Unban(ctx, req.RoomID, req.by(c))
}
