package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// getPushRulesGlobal returns the push rules of the one scope that there is.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
var getPushRulesGlobal = route.Route{
	Name:    "getPushRulesGlobal",
	Pattern: "GET /_matrix/client/v3/pushrules/global/",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveGetPushRulesGlobal),
}

func serveGetPushRulesGlobal(ctx context.Context, s *push.Service, c route.Caller, _ *route.Empty) (*push.Ruleset, error) {
	rules, err := s.Rules(ctx, c.UserID)
	return &rules.Global, err
}
