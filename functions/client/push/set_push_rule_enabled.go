package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// setPushRuleEnabled enables or disables a push rule.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
var setPushRuleEnabled = route.Route{
	Name:     "setPushRuleEnabled",
	Pattern:  "PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     push.Writes,
	Handler:  route.Handle(home.Push, serveSetPushRuleEnabled),
}

type setPushRuleEnabledRequest struct {
	Kind    string `path:"kind"`
	RuleID  string `path:"ruleId"`
	Enabled bool   `json:"enabled" required:"true"`
}

func serveSetPushRuleEnabled(ctx context.Context, s *push.Service, c route.Caller, req *setPushRuleEnabledRequest) (*route.Empty, error) {
	return &route.Empty{}, s.SetEnabled(ctx, c.UserID, req.Kind, req.RuleID, req.Enabled)
}
