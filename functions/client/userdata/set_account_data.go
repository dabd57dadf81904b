package userdata

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// setAccountData keeps something with the account, for all rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
var setAccountData = route.Route{
	Name:     "setAccountData",
	Pattern:  "PUT /_matrix/client/v3/user/{userId}/account_data/{type}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     accounts.Writes,
	Handler:  route.Handle(home.Accounts, serveSetAccountData),
}

type setAccountDataRequest struct {
	UserID  string          `path:"userId"`
	Type    string          `path:"type"`
	Content json.RawMessage `body:"json"`
}

func serveSetAccountData(ctx context.Context, s *accounts.Service, c route.Caller, req *setAccountDataRequest) (*route.Empty, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	if err := maySet(req.Type); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.SetAccountData(ctx, c.UserID, "", req.Type, req.Content)
}
