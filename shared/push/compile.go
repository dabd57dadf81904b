package push

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// Compiled is the rules of one user, ready to be tried. It is read-only, and does
// not allocate while it evaluates.
type Compiled struct {
	user  string
	rules []compiledRule
}

// Outcome is what a matching rule says.
type Outcome struct {
	Kind, RuleID string
	// Notify says that the event notifies; without it nothing is to be done.
	Notify bool
	// Highlight is the tweak of this name.
	Highlight bool
	// Actions are those of the rule.
	Actions []any
}

type compiledRule struct {
	conditions []condition
	outcome    Outcome
}

// condition is a compiled condition: an operation, and what it needs.
type condition struct {
	op    op
	path  string // canonical
	text  string
	value value
	glob  glob
	low   int64 // the range of counts that match
	high  int64
}

type op uint8

const (
	opNever     op = iota // of an unknown kind
	opEquals              // a property is a text, whatever its case
	opPrefix              // a property begins with a text
	opGlob                // a property matches a glob
	opWords               // the body has a part that matches a glob
	opName                // the body has the user's display name
	opIs                  // a property has a value
	opContains            // a list has a value
	opMembers             // the room has so many members
	opMayNotify           // the sender may notify
	opRoom                // the event is in a room
	opSender              // the event is from a user
)

// Compile prepares the rules of a user. What is not enabled is left out, and what
// is not valid never matches.
func Compile(user string, r Ruleset) *Compiled {
	c := &Compiled{user: user}
	for _, kind := range kinds {
		for _, rule := range *r.kind(kind) {
			if !rule.Enabled {
				continue
			}
			cr := compiledRule{outcome: outcomeOf(kind, rule)}
			switch kind {
			case "content":
				cr.conditions = []condition{{op: opWords, glob: compileGlob(rule.Pattern)}}
			case "room":
				cr.conditions = []condition{{op: opRoom, text: rule.ID}}
			case "sender":
				cr.conditions = []condition{{op: opSender, text: rule.ID}}
			default:
				if rule.Conditions != nil {
					for _, cond := range *rule.Conditions {
						cr.conditions = append(cr.conditions, compileCondition(cond))
					}
				}
			}
			c.rules = append(c.rules, cr)
		}
	}
	return c
}

func compileCondition(c Condition) condition {
	path := canonicalPath(c.Key)
	switch c.Kind {
	case "event_match":
		if c.Pattern != nil {
			return compileMatch(path, *c.Pattern)
		}
	case "event_property_is", "event_property_contains":
		if v, ok := c.literal(); ok {
			if c.Kind == "event_property_is" {
				return condition{op: opIs, path: path, value: v}
			}
			return condition{op: opContains, path: path, value: v}
		}
	case "contains_display_name":
		return condition{op: opName}
	case "room_member_count":
		if low, high, ok := parseCount(c.Is); ok {
			return condition{op: opMembers, low: low, high: high}
		}
	case "sender_notification_permission":
		return condition{op: opMayNotify, text: c.Key}
	}
	return condition{op: opNever}
}

func compileMatch(path, pattern string) condition {
	g := compileGlob(pattern)
	switch first := g.pieces[0]; {
	case path == "content.body":
		return condition{op: opWords, glob: g}
	case g.one && !first.any:
		return condition{op: opEquals, path: path, text: first.text}
	case len(g.pieces) == 2 && g.pieces[1].text == "" && !first.any:
		return condition{op: opPrefix, path: path, text: first.text}
	}
	return condition{op: opGlob, path: path, glob: g}
}

// literal is the value that the condition compares with. One that a client has
// set is read from its bytes, which tell integers from other numbers.
func (c Condition) literal() (value, bool) {
	if c.raw == nil {
		text, err := json.Marshal(c.Value)
		if err != nil {
			return value{}, false
		}
		return parseValue(text)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(c.raw, &keys); err != nil {
		return value{}, false
	}
	return parseValue(keys["value"])
}

// parseCount reads the range of a room_member_count.
func parseCount(is string) (low, high int64, ok bool) {
	if !memberCount.MatchString(is) {
		return 0, 0, false
	}
	digits := strings.TrimLeft(is, "<>=")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	switch is[:len(is)-len(digits)] {
	case "<":
		return 0, n - 1, true
	case "<=":
		return 0, n, true
	case ">":
		return n + 1, math.MaxInt64, true
	case ">=":
		return n, math.MaxInt64, true
	}
	return n, n, true
}

func outcomeOf(kind string, r Rule) Outcome {
	o := Outcome{Kind: kind, RuleID: r.ID, Actions: r.Actions}
	for _, a := range r.Actions {
		if a == "notify" {
			o.Notify = true
			continue
		}
		if name, value, ok := TweakOf(a); ok && name == "highlight" {
			o.Highlight = value == true
		}
	}
	return o
}
