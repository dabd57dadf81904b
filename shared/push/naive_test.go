package push_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/push"
)

// naive is the specification read word for word, with a regular expression for
// each pattern and no thought of speed.
type naive struct {
	user, name string
	event      map[string]any
	facts      push.Facts
}

// match returns the first rule that matches, as kind and id.
func (n naive) match(r push.Ruleset) (kind string, rule *push.Rule) {
	if n.event["sender"] == n.user {
		return "", nil
	}
	for _, list := range []struct {
		kind  string
		rules []push.Rule
	}{{"override", r.Override}, {"content", r.Content}, {"room", r.Room}, {"sender", r.Sender}, {"underride", r.Underride}} {
		for _, rule := range list.rules {
			ok := rule.Enabled
			switch list.kind {
			case "content":
				ok = ok && n.holds(map[string]any{"kind": "event_match", "key": "content.body", "pattern": rule.Pattern})
			case "room":
				ok = ok && n.facts.RoomID == rule.ID
			case "sender":
				ok = ok && n.event["sender"] == rule.ID
			default:
				for _, c := range *rule.Conditions {
					text, _ := json.Marshal(c)
					var keys map[string]any
					_ = json.Unmarshal(text, &keys)
					ok = ok && n.holds(keys)
				}
			}
			if ok {
				return list.kind, &rule
			}
		}
	}
	return "", nil
}

func (n naive) holds(c map[string]any) bool {
	key, _ := c["key"].(string)
	x, there := n.property(key)
	switch c["kind"] {
	case "event_match":
		text, ok := x.(string)
		if !ok {
			return false
		}
		if key == "content.body" {
			return hasWords(text, globExp(c["pattern"].(string)))
		}
		return globExp(c["pattern"].(string)).MatchString(text)
	case "event_property_is":
		return there && same(x, c["value"])
	case "event_property_contains":
		list, _ := x.([]any)
		return slices.ContainsFunc(list, func(e any) bool { return same(e, c["value"]) })
	case "contains_display_name":
		body, _ := n.property("content.body")
		text, ok := body.(string)
		return ok && n.name != "" && hasWords(text, regexp.MustCompile(`(?is)\A`+regexp.QuoteMeta(n.name)+`\z`))
	case "room_member_count":
		p := regexp.MustCompile(`^(\D*)(\d+)$`).FindStringSubmatch(c["is"].(string))
		want, _ := strconv.Atoi(p[2])
		switch p[1] {
		case "<":
			return n.facts.Members < want
		case "<=":
			return n.facts.Members <= want
		case ">":
			return n.facts.Members > want
		case ">=":
			return n.facts.Members >= want
		}
		return n.facts.Members == want
	case "sender_notification_permission":
		level, ok := n.facts.Notifications[key]
		if !ok {
			level = 50
		}
		return n.facts.SenderLevel >= level
	}
	return false
}

func same(x, y any) bool {
	switch x := x.(type) {
	case nil, bool, string:
		return x == y
	case float64:
		y, ok := y.(float64)
		return ok && x == y && x == float64(int64(x))
	}
	return false
}

func (n naive) property(path string) (x any, ok bool) {
	path = strings.NewReplacer(`\\`, "\x01", `\.`, "\x02").Replace(path)
	x = n.event
	for _, key := range strings.Split(path, ".") {
		object, is := x.(map[string]any)
		if !is {
			return nil, false
		}
		if x, ok = object[strings.NewReplacer("\x01", `\`, "\x02", ".").Replace(key)]; !ok {
			return nil, false
		}
	}
	return x, true
}

func globExp(pattern string) *regexp.Regexp {
	exp := regexp.QuoteMeta(pattern)
	exp = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(exp)
	return regexp.MustCompile(`(?is)\A` + exp + `\z`)
}

// hasWords tries every part of the text that begins and ends at a word boundary.
func hasWords(text string, exp *regexp.Regexp) bool {
	runes := []rune(text)
	word := regexp.MustCompile(`[A-Za-z0-9_]`)
	is := func(i int) bool { return i >= 0 && i < len(runes) && word.MatchString(string(runes[i])) }
	for i := range len(runes) + 1 {
		for j := i; j <= len(runes); j++ {
			if (!is(i-1) || !is(i)) && (!is(j-1) || !is(j)) && exp.MatchString(string(runes[i:j])) {
				return true
			}
		}
	}
	return false
}

// compare evaluates both ways.
func compare(t *testing.T, rules push.Ruleset, name, event string, facts push.Facts) {
	t.Helper()
	n := naive{user: alice, name: name, facts: facts}
	if err := json.Unmarshal([]byte(event), &n.event); err != nil {
		t.Fatal(err)
	}
	n.event["room_id"] = facts.RoomID
	e, err := push.NewEvent([]byte(event), facts)
	if err != nil {
		t.Fatal(err)
	}
	kind, rule := n.match(rules)
	got := push.Compile(alice, rules).Evaluate(e, name)
	switch {
	case got == nil && rule == nil:
	case got == nil || rule == nil || got.Kind != kind || got.RuleID != rule.ID:
		t.Errorf("event %s, name %q, facts %+v:\ngot %+v\nwant %s %+v", event, name, facts, got, kind, rule)
	}
}
