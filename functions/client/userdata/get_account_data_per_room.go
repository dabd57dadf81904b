package userdata

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getAccountDataPerRoom returns what is kept with the account for one room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype
var getAccountDataPerRoom = route.Route{
	Name:    "getAccountDataPerRoom",
	Pattern: "GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveGetAccountDataPerRoom),
}

type getAccountDataPerRoomRequest struct {
	UserID string `path:"userId"`
	RoomID string `path:"roomId"`
	Type   string `path:"type"`
}

func serveGetAccountDataPerRoom(ctx context.Context, s *accounts.Service, c route.Caller, req *getAccountDataPerRoomRequest) (*json.RawMessage, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := validRoom(req.RoomID); err != nil {
		return nil, err
	}
	item, err := s.AccountDataItem(ctx, c.UserID, req.RoomID, req.Type)
	if err != nil {
		return nil, err
	}
	return &item.Content, nil
}
