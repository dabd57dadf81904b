package userdata

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// setAccountDataPerRoom keeps something with the account for one room, which
// the user need not be in.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype
var setAccountDataPerRoom = route.Route{
	Name:     "setAccountDataPerRoom",
	Pattern:  "PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     accounts.Writes,
	Handler:  route.Handle(home.Accounts, serveSetAccountDataPerRoom),
}

type setAccountDataPerRoomRequest struct {
	UserID  string          `path:"userId"`
	RoomID  string          `path:"roomId"`
	Type    string          `path:"type"`
	Content json.RawMessage `body:"json"`
}

func serveSetAccountDataPerRoom(ctx context.Context, s *accounts.Service, c route.Caller, req *setAccountDataPerRoomRequest) (*route.Empty, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := validRoom(req.RoomID); err != nil {
		return nil, err
	}
	if err := maySet(req.Type); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.SetAccountData(ctx, c.UserID, req.RoomID, req.Type, req.Content)
}
