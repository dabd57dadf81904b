package push

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// isPushRuleEnabled tells whether a push rule is enabled.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
var isPushRuleEnabled = route.Route{
	Name:    "isPushRuleEnabled",
	Pattern: "GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.Accounts, serveIsPushRuleEnabled),
}

type isPushRuleEnabledResponse struct {
	Enabled bool `json:"enabled"`
}

func serveIsPushRuleEnabled(_ context.Context, _ *accounts.Service, c route.Caller, req *ruleRequest) (*isPushRuleEnabledResponse, error) {
	rule, err := req.find(c)
	if err != nil {
		return nil, err
	}
	return &isPushRuleEnabledResponse{rule.Enabled}, nil
}
