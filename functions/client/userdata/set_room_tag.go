package userdata

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// setRoomTag tags a room, which the user need not be in.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
var setRoomTag = route.Route{
	Name:     "setRoomTag",
	Pattern:  "PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     accounts.Writes,
	Handler:  route.Handle(home.Accounts, serveSetRoomTag),
}

type setRoomTagRequest struct {
	UserID  string          `path:"userId"`
	RoomID  string          `path:"roomId"`
	Tag     string          `path:"tag"`
	Content json.RawMessage `body:"json"`
}

func serveSetRoomTag(ctx context.Context, s *accounts.Service, c route.Caller, req *setRoomTagRequest) (*route.Empty, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := validRoom(req.RoomID); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.SetTag(ctx, c.UserID, req.RoomID, req.Tag, req.Content)
}
