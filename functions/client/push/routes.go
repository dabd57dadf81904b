// Package push answers what notifies a user: the specification's push
// notifications module. For now the push rules can be read.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-notifications
package push

import (
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getPushRules,
	getPushRulesGlobal,
	getPushRule,
	isPushRuleEnabled,
	getPushRuleActions,
}

// ruleRequest names a rule.
type ruleRequest struct {
	Kind   string `path:"kind"`
	RuleID string `path:"ruleId"`
}

// find returns the caller's rule that the request names, or M_NOT_FOUND.
func (r *ruleRequest) find(c route.Caller) (push.Rule, error) {
	rule, ok := push.DefaultRules(c.UserID).Global.Find(r.Kind, r.RuleID)
	if !ok {
		return push.Rule{}, mxerr.NotFound("You have no push rule %q of kind %q.", r.RuleID, r.Kind)
	}
	return rule, nil
}
