package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// knockRoom lets the requesting user ask to be invited to a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
var knockRoom = route.Route{
	Name:    "knockRoom",
	Pattern: "POST /_matrix/client/v3/knock/{roomIdOrAlias}",
	Limit:   route.LimitJoin,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveKnockRoom),
}

type knockRoomRequest struct {
	RoomIDOrAlias string `path:"roomIdOrAlias"`
	// Via and ServerName are servers to knock through; rooms here need none.
	Via        []string `query:"via"`
	ServerName []string `query:"server_name"`
	Reason     string   `json:"reason"`
}

func serveKnockRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *knockRoomRequest) (*joinResponse, error) {
	room, err := s.Resolve(ctx, req.RoomIDOrAlias)
	if err != nil {
		return nil, err
	}
	if err := s.Knock(ctx, c.UserID, room, req.Reason); err != nil {
		return nil, err
	}
	return &joinResponse{room}, nil
}
