package userdata

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// deleteRoomTag removes a tag from a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
var deleteRoomTag = route.Route{
	Name:     "deleteRoomTag",
	Pattern:  "DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     accounts.Writes,
	Handler:  route.Handle(home.Accounts, serveDeleteRoomTag),
}

type deleteRoomTagRequest struct {
	UserID string `path:"userId"`
	RoomID string `path:"roomId"`
	Tag    string `path:"tag"`
}

func serveDeleteRoomTag(ctx context.Context, s *accounts.Service, c route.Caller, req *deleteRoomTagRequest) (*route.Empty, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := validRoom(req.RoomID); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.DeleteTag(ctx, c.UserID, req.RoomID, req.Tag)
}
