package timeline

import (
	"encoding/json"
	"testing"

	"github.com/virga-im/virga/shared/mxerr"
)

func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"m.room.message", "m.room.message", true},
		{"m.room.message", "m.room.messages", false},
		{"m.room.*", "m.room.name", true},
		{"m.room.*", "m.call.invite", false},
		{"*", "", true},
		{"*.name", "m.room.name", true},
		{"m.*.n*e", "m.room.name", true},
		{"a*a", "a", false},
		{"a*b*b", "ab", false},
		{"a**b", "ab", true},
		{"", "", true},
		{"", "x", false},
	} {
		if matches(c.pattern, c.s) != c.want {
			t.Errorf("%q matches %q is %t", c.pattern, c.s, !c.want)
		}
	}
}

func TestFieldsArePicked(t *testing.T) {
	const event = `{"content":{"a.b":1,"body":"x","deep":{"er":2,"est":3}},"sender":"@a:b","type":"t"}`
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{[]string{"type", "content.body"}, `{"content":{"body":"x"},"type":"t"}`},
		{[]string{`content.a\.b`}, `{"content":{"a.b":1}}`},
		{[]string{"content.deep.er"}, `{"content":{"deep":{"er":2}}}`},
		{[]string{"content", "content.body"}, `{"content":{"a.b":1,"body":"x","deep":{"er":2,"est":3}}}`},
		{[]string{"sender.x", "none"}, `{}`},
		{[]string{}, `{}`},
	} {
		if got := string(pick(json.RawMessage(event), c.paths)); got != c.want {
			t.Errorf("%q: %s", c.paths, got)
		}
	}
}

func TestBadFiltersAreRefused(t *testing.T) {
	for _, f := range []string{
		`{"presence":"x"}`, `{"room":{"timeline":"x"}}`, `{"room":{"state":"x"}}`, `{"room":{"timeline":{"types":"x"}}}`,
		`{"room":{"timeline":{"types":[1]}}}`, `{"room":{"timeline":{"rooms":["not_a_room_id"]}}}`,
		`{"room":{"timeline":{"senders":["not_a_user"]}}}`, `{"room":{"rooms":["x"]}}`, `{"event_format":"x"}`,
		`{"room":{"timeline":{"limit":-1}}}`, `{"room":{"timeline":{"limit":"1"}}}`,
	} {
		if _, err := ParseFilter([]byte(f)); !mxerr.Is(err, "M_BAD_JSON") {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := ParseRoomEventFilter("{"); !mxerr.Is(err, "M_NOT_JSON") {
		t.Errorf("no JSON: %v", err)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`{"room":{"timeline":{"types":["m.*"],"limit":3}},"event_fields":["content.body"]}`, "m.room.message")
	f.Add(`{"room":{"timeline":{"types":[]}}}`, "*")
	f.Fuzz(func(t *testing.T, raw, typ string) {
		filter, err := ParseFilter([]byte(raw))
		if err != nil {
			return
		}
		filter.Room.Timeline.wantsType(typ)
		pick(json.RawMessage(`{"content":{"body":"x"}}`), filter.EventFields)
	})
}
