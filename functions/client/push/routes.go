// Package push answers what notifies a user: the specification's push
// notifications module.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-notifications
package push

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getPushers,
	postPusher,
	getNotifications,
	getPushRules,
	getPushRulesGlobal,
	getPushRule,
	setPushRule,
	deletePushRule,
	isPushRuleEnabled,
	setPushRuleEnabled,
	getPushRuleActions,
	setPushRuleActions,
}

// ruleRequest names a rule.
type ruleRequest struct {
	Kind   string `path:"kind"`
	RuleID string `path:"ruleId"`
}
