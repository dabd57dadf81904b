package userdata

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getRoomTags lists the requesting user's tags of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
var getRoomTags = route.Route{
	Name:    "getRoomTags",
	Pattern: "GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveGetRoomTags),
}

type getRoomTagsRequest struct {
	UserID string `path:"userId"`
	RoomID string `path:"roomId"`
}

type getRoomTagsResponse struct {
	Tags accounts.Tags `json:"tags"`
}

func serveGetRoomTags(ctx context.Context, s *accounts.Service, c route.Caller, req *getRoomTagsRequest) (*getRoomTagsResponse, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := validRoom(req.RoomID); err != nil {
		return nil, err
	}
	tags, err := s.Tags(ctx, c.UserID, req.RoomID)
	return &getRoomTagsResponse{tags}, err
}
