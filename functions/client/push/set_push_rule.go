package push

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// setPushRule adds or replaces a push rule of the user's own.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
var setPushRule = route.Route{
	Name:     "setPushRule",
	Pattern:  "PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     push.Writes,
	Handler:  route.Handle(home.Push, serveSetPushRule),
}

type setPushRuleRequest struct {
	Kind       string          `path:"kind"`
	RuleID     string          `path:"ruleId"`
	Before     string          `query:"before"`
	After      string          `query:"after"`
	Actions    json.RawMessage `json:"actions" required:"true"`
	Conditions json.RawMessage `json:"conditions"`
	Pattern    *string         `json:"pattern"`
}

func serveSetPushRule(ctx context.Context, s *push.Service, c route.Caller, req *setPushRuleRequest) (*route.Empty, error) {
	return &route.Empty{}, s.SetRule(ctx, c.UserID, push.Draft{
		Kind: req.Kind, ID: req.RuleID, Before: req.Before, After: req.After,
		Actions: req.Actions, Conditions: req.Conditions, Pattern: req.Pattern,
	})
}
