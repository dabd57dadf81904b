package push

import "strings"

// Evaluate returns what the first rule that matches says, or nil if none does or
// if the user sent the event. displayName is the user's in the room. The answer is
// shared, and not to be changed.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func (c *Compiled) Evaluate(e *Event, displayName string) *Outcome {
	if e.sender == c.user {
		return nil
	}
	steps := maxSteps
next:
	for i := range c.rules {
		r := &c.rules[i]
		for j := range r.conditions {
			if !r.conditions[j].holds(e, displayName, &steps) {
				continue next
			}
		}
		return &r.outcome
	}
	return nil
}

func (c *condition) holds(e *Event, displayName string, steps *int) bool {
	switch c.op {
	case opEquals, opPrefix, opGlob:
		v := e.properties[c.path]
		switch {
		case v == nil || v.kind != 's':
			return false
		case c.op == opEquals:
			return v.folded == c.text
		case c.op == opPrefix:
			return strings.HasPrefix(v.folded, c.text)
		}
		return c.glob.whole(v.folded, steps)
	case opWords:
		return e.body != nil && c.glob.words(e.body.folded, steps)
	case opName:
		if e.body == nil || displayName == "" {
			return false
		}
		name := piece{text: fold(displayName)}
		at, _ := name.findWord(e.body.folded, 0, true, true, steps)
		return at >= 0
	case opIs:
		v := e.properties[c.path]
		return v != nil && v.equal(&c.value)
	case opContains:
		v := e.properties[c.path]
		if v == nil || v.kind != 'l' {
			return false
		}
		for i := range v.list {
			if v.list[i].equal(&c.value) {
				return true
			}
		}
		return false
	case opMembers:
		n := int64(e.members())
		return c.low <= n && n <= c.high
	case opMayNotify:
		return e.mayNotify(c.text)
	case opRoom:
		return e.facts.RoomID == c.text
	case opSender:
		return e.sender == c.text
	}
	return false
}
