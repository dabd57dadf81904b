package oracle

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
)

// What entries of the list ask about a comparison.

func (c *comparison) weAllow() bool   { return c.ours.ok() && !c.theirs.ok() }
func (c *comparison) theyAllow() bool { return !c.ours.ok() && c.theirs.ok() }

// they reports whether the library refuses with these words.
func (c *comparison) they(words ...string) bool {
	if c.theirs.err == nil {
		return false
	}
	for _, w := range words {
		if strings.Contains(c.theirs.err.Error(), w) {
			return true
		}
	}
	return false
}

func (c *comparison) nilPanic() bool { return c.theirs.panic && c.they("nil pointer dereference") }

// rule reports whether we refuse by a rule under that for m.room.member, or by
// the rule with exactly this number if it has no such prefix.
func (c *comparison) rule(sub string) bool {
	var e *auth.Error
	return errors.As(c.ours.err, &e) && (e.Rule == sub || strings.HasPrefix(sub, ".") && strings.HasSuffix(e.Rule, sub))
}

func (c *comparison) is(typ string) bool { return c.event.Type == typ }

func (c *comparison) member(membership string) bool {
	return c.is("m.room.member") && c.event.View.Content.Membership == membership
}

// own: a membership event about its sender.
func (c *comparison) own() bool {
	return c.event.StateKey != nil && *c.event.StateKey == c.event.Sender
}

// field is a field of the event's content as JSON, "" if there is none.
func (c *comparison) field(path ...string) string { return field(c.event.Content, path...) }

func field(raw []byte, path ...string) string {
	for _, key := range path {
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil || m[key] == nil {
			return ""
		}
		raw = m[key]
	}
	return string(raw)
}

// in is a field of an event of the state.
func (c *comparison) in(typ, stateKey string, path ...string) string {
	e := c.state[auth.Key{Type: typ, StateKey: stateKey}]
	if e == nil {
		return ""
	}
	return field(e.Content, path...)
}

func (c *comparison) has(typ string) bool { return c.state[auth.Key{Type: typ}] != nil }

// membershipOf is a user's membership in the state, "leave" if there is none.
func (c *comparison) membershipOf(user string) string {
	if m := c.in("m.room.member", user, "membership"); m != "" {
		return strings.Trim(m, `"`)
	}
	return "leave"
}

func (c *comparison) joinRule() string {
	return strings.Trim(c.in("m.room.join_rules", "", "join_rule"), `"`)
}

// strangeCreator: the creator did not send the create event, and who created the
// room matters: there are no power levels, or it is the first join.
func (c *comparison) strangeCreator() bool {
	create := c.state[auth.Key{Type: "m.room.create"}]
	return !c.v.SenderCreates && create != nil && create.View.Content.Creator != create.Sender &&
		(!c.has("m.room.power_levels") || c.member("join") && c.event.View.OnlyPrev == create.ID)
}

// oddFederate: m.federate is there and no boolean.
func (c *comparison) oddFederate() bool {
	return strings.HasPrefix(c.in("m.room.create", "", "m.federate"), `"`)
}

// kindOf is the first byte of a value, which tells its type.
func kindOf(value string) byte {
	if value == "" {
		return 0
	}
	return value[0]
}

// oddLevels: some level of the event is nothing that its room version takes for
// one.
func (c *comparison) oddLevels() bool {
	number := func(v string) bool {
		k := kindOf(v)
		if k == '"' {
			trimmed := strings.TrimSpace(strings.Trim(v, `"`))
			return !c.v.IntegerLevels && trimmed != "" && strings.Trim(trimmed, "-0123456789") == ""
		}
		return k == '-' || k >= '0' && k <= '9'
	}
	for _, key := range []string{"users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"} {
		if v := c.field(key); v != "" && !number(v) {
			return true
		}
	}
	for _, key := range []string{"users", "events", "notifications"} {
		v := c.field(key)
		if v == "" {
			continue
		}
		var m map[string]json.RawMessage
		if kindOf(v) != '{' || json.Unmarshal([]byte(v), &m) != nil {
			return true
		}
		for _, l := range m {
			if !number(string(l)) {
				return true
			}
		}
	}
	return false
}

func (c *comparison) createID() string {
	if create := c.state[auth.Key{Type: "m.room.create"}]; create != nil {
		return create.ID
	}
	return ""
}

// we reports whether we refuse with these words.
func (c *comparison) we(words string) bool {
	return c.ours.err != nil && strings.Contains(c.ours.err.Error(), words)
}

// escapedKey: some key of the input has a character that canonical JSON escapes.
func (c *comparison) escapedKey() bool {
	found := false
	var walk func(value []byte)
	walk = func(value []byte) {
		for key, v := range canonicaljson.Fields(value) {
			found = found || len(canonicaljson.AppendString(nil, key)) != len(key)+2
			walk(v)
		}
		for v := range canonicaljson.Elements(value) {
			walk(v)
		}
	}
	walk([]byte(c.ours.value))
	return found
}

// oddNumbers: the input has numbers with a fraction or an exponent, or -0.
func (c *comparison) oddNumbers() bool { return oddNumber.Match(c.json) }

var oddNumber = regexp.MustCompile(`[0-9][.eE]|-0`)

// top reports whether the event has a top-level member.
func (c *comparison) top(key string) bool { return field(c.json, key) != "" }

// emptyInvite: third_party_invite is an object without signed.
func (c *comparison) emptyInvite() bool {
	return kindOf(field(c.json, "content", "third_party_invite")) == '{' && field(c.json, "content", "third_party_invite", "signed") == ""
}
