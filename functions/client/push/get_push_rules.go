package push

import (
	"context"

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
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveGetPushRules),
}

func serveGetPushRules(ctx context.Context, s *push.Service, c route.Caller, _ *route.Empty) (*push.Rulesets, error) {
	rules, err := s.Rules(ctx, c.UserID)
	return &rules, err
}
