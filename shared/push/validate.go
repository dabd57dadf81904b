package push

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/mxerr"
)

// Draft is a rule as a client sets it.
type Draft struct {
	Kind, ID   string
	Conditions json.RawMessage // of overrides and underrides; may be absent
	Pattern    *string         // of content rules
	Actions    json.RawMessage
	// Before and After name a rule of the user's own to be placed next to.
	Before, After string
}

// The bounds of one rule; lengths are in bytes.
const (
	maxRuleID     = 255
	maxPattern    = 1024
	maxConditions = 50
	maxActions    = 50
)

// rule checks the draft and returns the rule.
func (d Draft) rule() (Rule, error) {
	r := Rule{ID: d.ID}
	if !slices.Contains(kinds, d.Kind) {
		return r, mxerr.InvalidParam("%q is not a kind of push rules.", d.Kind)
	}
	switch {
	case strings.HasPrefix(d.ID, reserved):
		return r, mxerr.InvalidParam("Ids of push rules that begin with a dot are the server's.")
	case d.ID == "" || len(d.ID) > maxRuleID || strings.ContainsAny(d.ID, `/\`):
		return r, mxerr.InvalidParam("The id of a push rule has 1 to %d bytes, and no slashes or backslashes.", maxRuleID)
	}
	switch d.Kind {
	case "override", "underride":
		conditions, err := parseConditions(d.Conditions)
		if err != nil {
			return r, err
		}
		r.Conditions = &conditions
	case "content":
		if d.Pattern == nil {
			return r, mxerr.MissingParam("A content rule needs a pattern.")
		}
		if *d.Pattern == "" || len(*d.Pattern) > maxPattern {
			return r, mxerr.InvalidParam("A pattern has 1 to %d bytes.", maxPattern)
		}
		r.Pattern = *d.Pattern
	}
	var err error
	r.Actions, err = parseActions(d.Actions)
	return r, err
}

func parseConditions(text json.RawMessage) ([]Condition, error) {
	conditions := []Condition{}
	if len(text) == 0 || string(text) == "null" {
		return conditions, nil
	}
	if err := json.Unmarshal(text, &conditions); err != nil {
		return nil, mxerr.InvalidParam("The conditions must be a list of objects.")
	}
	if len(conditions) > maxConditions {
		return nil, mxerr.InvalidParam("A rule may have at most %d conditions.", maxConditions)
	}
	for _, c := range conditions {
		if err := c.check(); err != nil {
			return nil, err
		}
	}
	return conditions, nil
}

var memberCount = regexp.MustCompile(`^(==|<=|>=|<|>)?[0-9]{1,15}$`)

// check refuses a condition that lacks what its kind needs. Kinds that are not
// known are let through: they never match.
func (c Condition) check() error {
	if c.Kind == "" {
		return mxerr.InvalidParam("A condition needs a kind.")
	}
	needsKey := c.Kind == "event_match" || c.Kind == "event_property_is" || c.Kind == "event_property_contains" || c.Kind == "sender_notification_permission"
	if needsKey && (c.Key == "" || len(c.Key) > maxPath) {
		return mxerr.InvalidParam("A condition of kind %s needs a key of 1 to %d bytes.", c.Kind, maxPath)
	}
	switch c.Kind {
	case "event_match":
		if c.Pattern == nil || len(*c.Pattern) > maxPattern {
			return mxerr.InvalidParam("A condition of kind event_match needs a pattern of at most %d bytes.", maxPattern)
		}
	case "event_property_is", "event_property_contains":
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(c.raw, &keys); err != nil {
			return mxerr.InvalidParam("A condition must be an object.")
		}
		if _, ok := parseValue(keys["value"]); !ok {
			return mxerr.InvalidParam("A condition of kind %s needs a value: a string, an integer, true, false or null.", c.Kind)
		}
	case "room_member_count":
		if !memberCount.MatchString(c.Is) {
			return mxerr.InvalidParam(`A condition of kind room_member_count needs an "is" such as "2", or ">=10".`)
		}
	}
	return nil
}

// parseActions returns the actions of a rule. Those that are history do nothing,
// and are kept: matrix-js-sdk mutes a room with dont_notify, and looks for it when
// it is to be heard again.
//
// https://spec.matrix.org/v1.19/client-server-api/#historical-actions
func parseActions(text json.RawMessage) ([]any, error) {
	var list []json.RawMessage
	if len(text) == 0 || string(text) == "null" {
		return nil, mxerr.MissingParam("The actions are missing.")
	}
	if err := json.Unmarshal(text, &list); err != nil || len(list) > maxActions {
		return nil, mxerr.InvalidParam("The actions must be a list of at most %d actions.", maxActions)
	}
	actions := []any{}
	for _, raw := range list {
		var name string
		var tweak struct {
			Set *string `json:"set_tweak"`
		}
		switch {
		case json.Unmarshal(raw, &name) == nil && raw[0] == '"':
			switch name {
			case "notify", "dont_notify", "coalesce":
				actions = append(actions, name)
			default:
				return nil, mxerr.InvalidParam("There is no action %q.", name)
			}
		case json.Unmarshal(raw, &tweak) == nil && tweak.Set != nil && *tweak.Set != "":
			actions = append(actions, raw)
		default:
			return nil, mxerr.InvalidParam("An action is a string, or an object with set_tweak.")
		}
	}
	return actions, nil
}
