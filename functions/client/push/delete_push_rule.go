package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// deletePushRule deletes a push rule of the user's own.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
var deletePushRule = route.Route{
	Name:     "deletePushRule",
	Pattern:  "DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     push.Writes,
	Handler:  route.Handle(home.Push, serveDeletePushRule),
}

func serveDeletePushRule(ctx context.Context, s *push.Service, c route.Caller, req *ruleRequest) (*route.Empty, error) {
	return &route.Empty{}, s.DeleteRule(ctx, c.UserID, req.Kind, req.RuleID)
}
