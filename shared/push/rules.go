// Package push decides which events notify whom: the push rules of a user, and
// what they say of an event.
//
// The rules are the user's account data of type m.push_rules, an AD row of the
// accounts domain. It holds a Changes: what the user has changed, and not the
// rules that follow from it, so that everybody has the server's default rules of
// today. Nobody else writes it, and it must not be shown to clients as it is; see
// Render.
package push

import (
	"encoding/json"
	"slices"
)

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
// kind. One that a client has set keeps its bytes, since it may be of a kind that
// this server does not know.
type Condition struct {
	Kind    string  `json:"kind"`
	Key     string  `json:"key,omitempty"`
	Pattern *string `json:"pattern,omitempty"`
	Value   any     `json:"value,omitempty"`
	Is      string  `json:"is,omitempty"`

	raw json.RawMessage
}

// MarshalJSON writes the condition as it was set.
func (c Condition) MarshalJSON() ([]byte, error) {
	if c.raw != nil {
		return c.raw, nil
	}
	type plain Condition
	return json.Marshal(plain(c))
}

// UnmarshalJSON reads any object. What has another type than it should is left
// out, which a rule that is set later is refused for.
func (c *Condition) UnmarshalJSON(text []byte) error {
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	*c = Condition{raw: slices.Clone(text), Value: keys["value"]}
	c.Kind, _ = keys["kind"].(string)
	c.Key, _ = keys["key"].(string)
	c.Is, _ = keys["is"].(string)
	if p, ok := keys["pattern"].(string); ok {
		c.Pattern = &p
	}
	return nil
}

// Tweak is the action that changes how a notification looks or sounds.
type Tweak struct {
	Set   string `json:"set_tweak"`
	Value any    `json:"value,omitempty"`
}

// TweakOf returns what an action sets, if it sets something. A highlight without
// a value is true.
func TweakOf(action any) (name string, value any, ok bool) {
	t, ok := action.(Tweak)
	if raw, isRaw := action.(json.RawMessage); isRaw {
		ok = json.Unmarshal(raw, &t) == nil
	}
	if m, isMap := action.(map[string]any); isMap {
		t.Set, ok = m["set_tweak"].(string)
		t.Value = m["value"]
	}
	if !ok || t.Set == "" {
		return "", nil, false
	}
	if t.Set == "highlight" && t.Value == nil {
		t.Value = true
	}
	return t.Set, t.Value, true
}

func (r *Ruleset) kind(kind string) *[]Rule {
	switch kind {
	case "override":
		return &r.Override
	case "content":
		return &r.Content
	case "room":
		return &r.Room
	case "sender":
		return &r.Sender
	case "underride":
		return &r.Underride
	}
	return nil
}

// Find returns the rule of a kind with an id.
func (r Ruleset) Find(kind, id string) (Rule, bool) {
	if rules := r.kind(kind); rules != nil {
		if i := indexOf(*rules, id); i >= 0 {
			return (*rules)[i], true
		}
	}
	return Rule{}, false
}
