package push

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// getPushRules returns all push rules of the user, by scope.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
var getPushRules = route.Route{
	Name:    "getPushRules",
	Pattern: "GET /_matrix/client/v3/pushrules/",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.Accounts, serveGetPushRules),
}

func serveGetPushRules(_ context.Context, _ *accounts.Service, c route.Caller, _ *route.Empty) (*push.Rulesets, error) {
	rules := push.DefaultRules(c.UserID)
	return &rules, nil
}
