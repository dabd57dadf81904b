package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// getPushRule returns one push rule.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
var getPushRule = route.Route{
	Name:    "getPushRule",
	Pattern: "GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveGetPushRule),
}

func serveGetPushRule(ctx context.Context, s *push.Service, c route.Caller, req *ruleRequest) (*push.Rule, error) {
	rule, err := s.Rule(ctx, c.UserID, req.Kind, req.RuleID)
	if err != nil {
		return nil, err
	}
	return &rule, nil
}
