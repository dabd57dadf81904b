package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
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
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveIsPushRuleEnabled),
}

type isPushRuleEnabledResponse struct {
	Enabled bool `json:"enabled"`
}

func serveIsPushRuleEnabled(ctx context.Context, s *push.Service, c route.Caller, req *ruleRequest) (*isPushRuleEnabledResponse, error) {
	rule, err := s.Rule(ctx, c.UserID, req.Kind, req.RuleID)
	if err != nil {
		return nil, err
	}
	return &isPushRuleEnabledResponse{rule.Enabled}, nil
}
