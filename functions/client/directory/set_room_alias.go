package directory

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// setRoomAlias makes an alias for a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
var setRoomAlias = route.Route{
	Name:    "setRoomAlias",
	Pattern: "PUT /_matrix/client/v3/directory/room/{roomAlias}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    rooms.AddsAliases,
	Handler: route.Handle(home.Rooms, serveSetRoomAlias),
}

type setRoomAliasRequest struct {
	Alias  string `path:"roomAlias"`
	RoomID string `json:"room_id" required:"true"`
}

func serveSetRoomAlias(ctx context.Context, s *rooms.Service, c route.Caller, req *setRoomAliasRequest) (*route.Empty, error) {
	return &route.Empty{}, s.AddAlias(ctx, c.UserID, req.Alias, req.RoomID)
}
