package userdata

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// getAccountData returns what is kept with the account for all rooms. The push
// rules are read here, too, although they are not set here.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
var getAccountData = route.Route{
	Name:    "getAccountData",
	Pattern: "GET /_matrix/client/v3/user/{userId}/account_data/{type}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveGetAccountData),
}

type getAccountDataRequest struct {
	UserID string `path:"userId"`
	Type   string `path:"type"`
}

func serveGetAccountData(ctx context.Context, s *accounts.Service, c route.Caller, req *getAccountDataRequest) (*json.RawMessage, error) {
	if err := mayAccess(c, req.UserID); err != nil {
		return nil, err
	}
	item, err := s.AccountDataItem(ctx, c.UserID, "", req.Type)
	if req.Type == push.RulesType && (err == nil || mxerr.Is(err, "M_NOT_FOUND")) {
		item.Content, err = push.Render(c.UserID, item.Content)
	}
	if err != nil {
		return nil, err
	}
	return &item.Content, nil
}
