package directory

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// deleteRoomAlias deletes an alias.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
var deleteRoomAlias = route.Route{
	Name:    "deleteRoomAlias",
	Pattern: "DELETE /_matrix/client/v3/directory/room/{roomAlias}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    rooms.RemovesAliases,
	Handler: route.Handle(home.Rooms, serveDeleteRoomAlias),
}

type deleteRoomAliasRequest struct {
	Alias string `path:"roomAlias"`
}

func serveDeleteRoomAlias(ctx context.Context, s *rooms.Service, c route.Caller, req *deleteRoomAliasRequest) (*route.Empty, error) {
	return &route.Empty{}, s.RemoveAlias(ctx, c.UserID, req.Alias)
}
