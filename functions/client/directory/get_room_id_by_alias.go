package directory

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getRoomIDByAlias tells which room an alias points to.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
var getRoomIDByAlias = route.Route{
	Name:    "getRoomIdByAlias",
	Pattern: "GET /_matrix/client/v3/directory/room/{roomAlias}",
	Also:    route.R0,
	Auth:    route.Public,
	Uses:    directory.Reads,
	Handler: route.Handle(home.Directory, serveGetRoomIDByAlias),
}

type getRoomIDByAliasRequest struct {
	Alias string `path:"roomAlias"`
}

type getRoomIDByAliasResponse struct {
	RoomID  string   `json:"room_id"`
	Servers []string `json:"servers"`
}

func serveGetRoomIDByAlias(ctx context.Context, s *directory.Service, _ route.Caller, req *getRoomIDByAliasRequest) (*getRoomIDByAliasResponse, error) {
	if !id.ValidAlias(req.Alias) {
		return nil, mxerr.InvalidParam("%q is not a room alias.", req.Alias)
	}
	a, err := s.Lookup(ctx, req.Alias)
	if err != nil {
		return nil, err
	}
	return &getRoomIDByAliasResponse{a.Room, []string{s.ServerName}}, nil
}
