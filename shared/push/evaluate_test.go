package push_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/push"
)

var facts = push.Facts{RoomID: "!room:test", Members: 10}

func message(content string) string {
	return `{"type":"m.room.message","sender":"@bob:test","event_id":"$1","content":` + content + `}`
}

func evaluate(t testing.TB, rules push.Ruleset, event string, f push.Facts) string {
	t.Helper()
	e, err := push.NewEvent([]byte(event), f)
	if err != nil {
		t.Fatal(err)
	}
	o := push.Compile(alice, rules).Evaluate(e, "Alice")
	switch {
	case o == nil:
		return "nothing"
	case o.Highlight && o.Notify:
		return o.RuleID + " highlights"
	case o.Notify:
		return o.RuleID + " notifies"
	}
	return o.RuleID
}

func TestDefaultRulesNotifyOfWhatConcernsPeople(t *testing.T) {
	two, may := facts, facts
	two.Members, may.SenderLevel = 2, 50
	member := func(target, membership string) string {
		return fmt.Sprintf(`{"type":"m.room.member","state_key":%q,"sender":"@bob:test","content":{"membership":%q}}`, target, membership)
	}
	for _, c := range []struct {
		event string
		facts push.Facts
		want  string
	}{
		{message(`{"msgtype":"m.text","body":"hello"}`), facts, ".m.rule.message notifies"},
		{message(`{"msgtype":"m.text","body":"hello"}`), two, ".m.rule.room_one_to_one notifies"},
		{message(`{"msgtype":"m.notice","body":"hello Alice"}`), facts, ".m.rule.suppress_notices"},
		{message(`{"body":"alice"}`), facts, ".m.rule.message notifies"},
		{message(`{"m.mentions":{"user_ids":["@carol:test","@alice:test"]}}`), facts, ".m.rule.is_user_mention highlights"},
		{message(`{"m.mentions":{"user_ids":["@carol:test"]}}`), facts, ".m.rule.message notifies"},
		{message(`{"m.mentions":{"user_ids":"@alice:test"}}`), facts, ".m.rule.message notifies"},
		{message(`{"m.mentions":{"room":true}}`), facts, ".m.rule.message notifies"},
		{message(`{"m.mentions":{"room":true}}`), may, ".m.rule.is_room_mention highlights"},
		{message(`{"m.mentions":{"room":"true"}}`), may, ".m.rule.message notifies"},
		{message(`{"body":"* hi","m.relates_to":{"rel_type":"m.replace","event_id":"$0"}}`), facts, ".m.rule.suppress_edits"},
		{member(alice, "invite"), facts, ".m.rule.invite_for_me notifies"},
		{member("@carol:test", "invite"), facts, ".m.rule.member_event"},
		{member(alice, "ban"), facts, ".m.rule.member_event"},
		{`{"type":"m.room.tombstone","state_key":"","sender":"@bob:test","content":{}}`, facts, ".m.rule.tombstone highlights"},
		{`{"type":"m.room.tombstone","sender":"@bob:test","content":{}}`, facts, "nothing"},
		{`{"type":"m.reaction","sender":"@bob:test","content":{}}`, facts, ".m.rule.reaction"},
		{`{"type":"m.room.server_acl","state_key":"","sender":"@bob:test","content":{}}`, facts, ".m.rule.room.server_acl"},
		{`{"type":"m.call.invite","sender":"@bob:test","content":{}}`, facts, ".m.rule.call notifies"},
		{`{"type":"m.room.encrypted","sender":"@bob:test","content":{}}`, facts, ".m.rule.encrypted notifies"},
		{`{"type":"m.room.encrypted","sender":"@bob:test","content":{}}`, two, ".m.rule.encrypted_room_one_to_one notifies"},
		{`{"type":"m.room.topic","state_key":"","sender":"@bob:test","content":{"topic":"x"}}`, facts, "nothing"},
		{`{"type":"m.room.message","sender":"@alice:test","content":{"body":"mine","m.mentions":{"user_ids":["@alice:test"]}}}`, facts, "nothing"},
	} {
		if got := evaluate(t, push.DefaultRules(alice).Global, c.event, c.facts); got != c.want {
			t.Errorf("%s: %s, not %s", c.event, got, c.want)
		}
	}
}

func condition(t testing.TB, text string) push.Ruleset {
	t.Helper()
	var list []push.Condition
	if err := json.Unmarshal([]byte("["+text+"]"), &list); err != nil {
		t.Fatal(err)
	}
	return push.Ruleset{Override: []push.Rule{{ID: "rule", Enabled: true, Conditions: &list, Actions: []any{"notify"}}}}
}

// The examples of the specification, and what they leave open.
func TestConditions(t *testing.T) {
	for _, c := range []struct{ condition, yes, no string }{
		{`{"kind":"event_match","key":"content.topic","pattern":"lunc?*"}`, `{"topic":"Lunch plans"} {"topic":"LUNCH"}`, `{"topic":" lunch"} {"topic":"lunc"} {"topic":null} {}`},
		{`{"kind":"event_match","key":"content.x","pattern":"*"}`, `{"x":""} {"x":"a\nb"}`, `{"x":1} {"x":["a"]} {}`},
		{`{"kind":"event_match","key":"content.body","pattern":"ex*ple"}`, `{"body":"An example event."} {"body":"exple"} {"body":"An exciting triple-whammy"}`, `{"body":"exples"} {"body":"hex ample"} {"body":1}`},
		{`{"kind":"event_match","key":"content.body","pattern":"@room"}`, `{"body":"@room"} {"body":"hi @ROOM!"} {"body":"(@room)"}`, `{"body":"@rooms"} {"body":"room"}`},
		{`{"kind":"event_match","key":"content.body","pattern":"straße"}`, `{"body":"die STRAßE"} {"body":"Straße, nass"}`, `{"body":"strasse"} {"body":"hauptstraße"}`},
		{`{"kind":"event_match","key":"content.body","pattern":"日?"}`, `{"body":"日本"} {"body":"x 日本語"}`, `{"body":"日"}`},
		{`{"kind":"event_match","key":"content.x","pattern":"ΣΟΦΌΣ"}`, `{"x":"σοφός"} {"x":"σοφόσ"}`, `{"x":"σοφός "}`},
		{`{"kind":"event_property_is","key":"content.m\\.federate","value":true}`, `{"m.federate":true}`, `{"m.federate":"true"} {"m.federate":1} {"m":{"federate":true}}`},
		{`{"kind":"event_property_is","key":"content.x","value":null}`, `{"x":null}`, `{} {"x":""} {"x":false} {"x":[null]}`},
		{`{"kind":"event_property_is","key":"content.x","value":9007199254740991}`, `{"x":9007199254740991}`, `{"x":9007199254740990} {"x":"9007199254740991"}`},
		{`{"kind":"event_property_is","key":"content.a\\\\b.c","value":"C"}`, `{"a\\b":{"c":"C"}}`, `{"a\\b":{"c":"c"}}`},
		{`{"kind":"event_property_contains","key":"content.x","value":"a"}`, `{"x":["b","a"]}`, `{"x":["A"]} {"x":"a"} {"x":[["a"]]} {"x":{"a":"a"}}`},
		{`{"kind":"event_property_contains","key":"content.x","value":1}`, `{"x":[{},1]}`, `{"x":[true,"1",1.5]}`},
		{`{"kind":"contains_display_name"}`, `{"body":"hi alice!"} {"body":"ALICE"}`, `{"body":"malice"} {"body":"bob"} {}`},
		{`{"kind":"room_member_count","is":"10"}`, `{}`, ``},
		{`{"kind":"room_member_count","is":"<10"}`, ``, `{}`},
		{`{"kind":"org.example.unknown"}`, ``, `{}`},
	} {
		for want, list := range map[string]string{"rule notifies": c.yes, "nothing": c.no} {
			dec := json.NewDecoder(strings.NewReader(list))
			for dec.More() {
				var content json.RawMessage
				if err := dec.Decode(&content); err != nil {
					t.Fatal(err)
				}
				if got := evaluate(t, condition(t, c.condition), message(string(content)), facts); got != want {
					t.Errorf("%s on %s: %s", c.condition, content, got)
				}
			}
		}
	}
}

func TestTheMostImportantRuleDecides(t *testing.T) {
	var c push.Changes
	c.Own.Content = []push.Rule{{ID: "tea", Enabled: true, Pattern: "tea", Actions: []any{"notify", map[string]any{"set_tweak": "highlight"}}}}
	c.Own.Room = []push.Rule{{ID: facts.RoomID, Enabled: true, Actions: []any{}}}
	c.Own.Sender = []push.Rule{{ID: "@bob:test", Enabled: true, Actions: []any{"notify", map[string]any{"set_tweak": "highlight", "value": false}}}}
	say := func() string { return evaluate(t, c.Rules(alice).Global, message(`{"body":"time for tea"}`), facts) }
	if got := say(); got != "tea highlights" {
		t.Errorf("content: %s", got)
	}
	c.Own.Content[0].Enabled = false
	if got := say(); got != facts.RoomID {
		t.Errorf("room: %s", got)
	}
	c.Own.Room = nil
	if got := say(); got != "@bob:test notifies" {
		t.Errorf("sender: %s", got)
	}
	on := true
	c.Defaults = map[string]push.Changed{".m.rule.master": {Enabled: &on}}
	if got := say(); got != ".m.rule.master" {
		t.Errorf("all off: %s", got)
	}
}

var alphabet = []string{"a", "A", "b", "_", "1", " ", ".", "é", "É", "ß", "σ", "ς", "日", "@", "\n", "aa", "ab"}

func randomText(r *rand.Rand, more ...string) string {
	letters := append(more, alphabet...)
	var b strings.Builder
	for range r.IntN(7) {
		b.WriteString(letters[r.IntN(len(letters))])
	}
	return b.String()
}

func TestGlobsAreReadAsRegularExpressions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		pattern, text := randomText(r, "*", "?", "*", "?"), randomText(r)
		key := []string{"content.body", "content.x"}[r.IntN(2)]
		cond, _ := json.Marshal(map[string]string{"kind": "event_match", "key": key, "pattern": pattern})
		content, _ := json.Marshal(map[string]string{"body": text, "x": text})
		compare(t, condition(t, string(cond)), "", message(string(content)), facts)
		if t.Failed() {
			return
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add(`{"kind":"event_match","key":"content.body","pattern":"a*b"}`, message(`{"body":"a b"}`), "Alice", 2)
	f.Add(`{"kind":"contains_display_name"},{"kind":"room_member_count","is":">1"}`, message(`{"body":"é alice"}`), "alice", 3)
	f.Add(`{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@alice:test"}`, message(`{"m.mentions":{"user_ids":["@alice:test",1]}}`), "", 1)
	f.Fuzz(func(t *testing.T, conditions, event, name string, members int) {
		var list []push.Condition
		if json.Unmarshal([]byte("["+conditions+"]"), &list) != nil {
			return
		}
		rules := push.Ruleset{Underride: []push.Rule{{ID: "rule", Enabled: true, Conditions: &list, Actions: []any{"notify"}}}}
		e, err := push.NewEvent([]byte(event), push.Facts{RoomID: "!r", Members: members})
		if err != nil {
			return
		}
		first := push.Compile(alice, rules).Evaluate(e, name)
		text, err := json.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		var again push.Ruleset
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if second := push.Compile(alice, again).Evaluate(e, name); (first == nil) != (second == nil) {
			t.Errorf("stored and read again, %s says otherwise of %s", text, event)
		}
	})
}

// One user's patterns must not hold up everybody's messages.
func TestHostilePatternsEnd(t *testing.T) {
	body, _ := json.Marshal(map[string]string{"body": strings.Repeat("a", 60_000), "x": strings.Repeat("a", 60_000)})
	var rules push.Ruleset
	for i := range 100 {
		for _, p := range []string{strings.Repeat("a", 500) + "b", strings.Repeat("*a", 250) + "b", strings.Repeat("a?", 400) + "b", strings.Repeat("?", 900) + "b"} {
			cond, _ := json.Marshal(map[string]string{"kind": "event_match", "key": "content.x", "pattern": "*" + p + "*"})
			list := condition(t, string(cond)).Override
			rules.Override = append(rules.Override, list...)
			rules.Content = append(rules.Content, push.Rule{ID: fmt.Sprint(i, p), Enabled: true, Pattern: p, Actions: []any{"notify"}})
		}
	}
	start := time.Now()
	evaluate(t, rules, message(string(body)), facts)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("%d rules took %s", len(rules.Override)+len(rules.Content), d)
	}
}

func BenchmarkDefaultRules(b *testing.B) {
	for name, event := range map[string]string{
		"message":   message(`{"msgtype":"m.text","body":"A message of the usual length, which mentions nobody.","m.mentions":{}}`),
		"mention":   message(`{"msgtype":"m.text","body":"alice: hello","m.mentions":{"user_ids":["@alice:test"]}}`),
		"encrypted": `{"type":"m.room.encrypted","sender":"@bob:test","content":{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"AwgA"}}`,
		"topic":     `{"type":"m.room.topic","state_key":"","sender":"@bob:test","content":{"topic":"x"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			e, err := push.NewEvent([]byte(event), facts)
			if err != nil {
				b.Fatal(err)
			}
			c := push.Compile(alice, push.DefaultRules(alice).Global)
			b.ReportAllocs()
			for b.Loop() {
				c.Evaluate(e, "Alice")
			}
		})
	}
}

func TestEvaluationDoesNotAllocate(t *testing.T) {
	e, err := push.NewEvent([]byte(message(`{"msgtype":"m.text","body":"A message","m.mentions":{"user_ids":["@carol:test"]}}`)), facts)
	if err != nil {
		t.Fatal(err)
	}
	c := push.Compile(alice, push.DefaultRules(alice).Global)
	if n := testing.AllocsPerRun(100, func() { c.Evaluate(e, "Alice") }); n > 0 {
		t.Errorf("%v allocations for an event and user", n)
	}
}
