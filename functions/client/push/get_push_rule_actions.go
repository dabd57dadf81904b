package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
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
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveGetPushRuleActions),
}

type getPushRuleActionsResponse struct {
	Actions []any `json:"actions"`
}

func serveGetPushRuleActions(ctx context.Context, s *push.Service, c route.Caller, req *ruleRequest) (*getPushRuleActionsResponse, error) {
	rule, err := s.Rule(ctx, c.UserID, req.Kind, req.RuleID)
	if err != nil {
		return nil, err
	}
	return &getPushRuleActionsResponse{rule.Actions}, nil
}
