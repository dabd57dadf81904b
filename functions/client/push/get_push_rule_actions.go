package push

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getPushRuleActions tells what a push rule does.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions
var getPushRuleActions = route.Route{
	Name:    "getPushRuleActions",
	Pattern: "GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.Accounts, serveGetPushRuleActions),
}

type getPushRuleActionsResponse struct {
	Actions []any `json:"actions"`
}

func serveGetPushRuleActions(_ context.Context, _ *accounts.Service, c route.Caller, req *ruleRequest) (*getPushRuleActionsResponse, error) {
	rule, err := req.find(c)
	if err != nil {
		return nil, err
	}
	return &getPushRuleActionsResponse{rule.Actions}, nil
}
