package push

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// setPushRuleActions changes what a push rule does.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
var setPushRuleActions = route.Route{
	Name:     "setPushRuleActions",
	Pattern:  "PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     push.Writes,
	Handler:  route.Handle(home.Push, serveSetPushRuleActions),
}

type setPushRuleActionsRequest struct {
	Kind    string          `path:"kind"`
	RuleID  string          `path:"ruleId"`
	Actions json.RawMessage `json:"actions" required:"true"`
}

func serveSetPushRuleActions(ctx context.Context, s *push.Service, c route.Caller, req *setPushRuleActionsRequest) (*route.Empty, error) {
	return &route.Empty{}, s.SetActions(ctx, c.UserID, req.Kind, req.RuleID, req.Actions)
}
