// Package push decides which events notify whom. For now it knows the rules that
// every user has from the start.
package push

import "slices"

// Ruleset is the push rules of a user, by kind, each in the order in which they
// are tried.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Ruleset struct {
	Override  []Rule `json:"override"`
	Content   []Rule `json:"content"`
	Room      []Rule `json:"room"`
	Sender    []Rule `json:"sender"`
	Underride []Rule `json:"underride"`
}

// Rulesets is the content of m.push_rules. There is one scope.
type Rulesets struct {
	Global Ruleset `json:"global"`
}

// Rule is a push rule. Overrides and underrides have conditions, content rules
// a pattern; the others match by their id.
type Rule struct {
	ID         string       `json:"rule_id"`
	Default    bool         `json:"default"`
	Enabled    bool         `json:"enabled"`
	Conditions *[]Condition `json:"conditions,omitempty"`
	Pattern    string       `json:"pattern,omitempty"`
	// Actions are strings, or a Tweak.
	Actions []any `json:"actions"`
}

// Condition is one of the conditions of a rule; which keys it has depends on its
// kind.
type Condition struct {
	Kind    string  `json:"kind"`
	Key     string  `json:"key,omitempty"`
	Pattern *string `json:"pattern,omitempty"`
	Value   any     `json:"value,omitempty"`
	Is      string  `json:"is,omitempty"`
}

// Tweak is the action that changes how a notification looks or sounds.
type Tweak struct {
	Set   string `json:"set_tweak"`
	Value any    `json:"value,omitempty"`
}

// Kind returns the rules of a kind; ok is false if there is no such kind.
func (r Ruleset) Kind(kind string) (rules []Rule, ok bool) {
	switch kind {
	case "override":
		return r.Override, true
	case "content":
		return r.Content, true
	case "room":
		return r.Room, true
	case "sender":
		return r.Sender, true
	case "underride":
		return r.Underride, true
	}
	return nil, false
}

// Find returns the rule of a kind with an id.
func (r Ruleset) Find(kind, id string) (Rule, bool) {
	rules, _ := r.Kind(kind)
	i := slices.IndexFunc(rules, func(rule Rule) bool { return rule.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
