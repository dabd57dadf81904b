package membership

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// joinRoom lets the requesting user join a room that may be given by an alias.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
var joinRoom = route.Route{
	Name:    "joinRoom",
	Pattern: "POST /_matrix/client/v3/join/{roomIdOrAlias}",
	Also:    route.R0,
	Limit:   route.LimitJoin,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveJoinRoom),
}

type joinRoomRequest struct {
	RoomIDOrAlias string `path:"roomIdOrAlias"`
	// Via and ServerName are servers to join through; rooms here need none.
	Via              []string        `query:"via"`
	ServerName       []string        `query:"server_name"`
	Reason           string          `json:"reason"`
	ThirdPartySigned json.RawMessage `json:"third_party_signed"`
	Body             json.RawMessage `body:"json,optional"`
}

func serveJoinRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *joinRoomRequest) (*joinResponse, error) {
	if err := mayJoinBy3PID(req.ThirdPartySigned); err != nil {
		return nil, err
	}
	room, err := s.Resolve(ctx, req.RoomIDOrAlias)
	if err != nil {
		return nil, err
	}
	if err := s.JoinWith(ctx, c.UserID, room, req.Reason, req.Body); err != nil {
		return nil, err
	}
	return &joinResponse{room}, nil
}
