package pdu_test

import (
	"encoding/json"
	"testing"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

func TestRedactionKeepsWhatEachVersionProtects(t *testing.T) {
	levels := `{"ban":1,"events":{"x":1},"events_default":1,"invite":7,"kick":1,"notifications":{"room":1},"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`
	levelsKept := `{"ban":1,"events":{"x":1},"events_default":1,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`
	levelsKept11 := `{"ban":1,"events":{"x":1},"events_default":1,"invite":7,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`
	member := `{"displayname":"x","join_authorised_via_users_server":"@b:b","membership":"join","third_party_invite":{"display_name":"y","signed":{"mxid":"@a:b"}}}`
	for _, test := range []struct{ from, to, typ, in, out string }{
		{"1", "12", "m.room.message", `{"body":"x"}`, `{}`},
		{"1", "12", "m.room.name", `{"name":"x"}`, `{}`},
		{"1", "8", "m.room.member", member, `{"membership":"join"}`},
		{"9", "10", "m.room.member", member, `{"join_authorised_via_users_server":"@b:b","membership":"join"}`},
		{"11", "12", "m.room.member", member, `{"join_authorised_via_users_server":"@b:b","membership":"join","third_party_invite":{"signed":{"mxid":"@a:b"}}}`},
		{"1", "10", "m.room.create", `{"creator":"@a:b","m.federate":true}`, `{"creator":"@a:b"}`},
		{"11", "12", "m.room.create", `{"creator":"@a:b","m.federate":true}`, `{"creator":"@a:b","m.federate":true}`},
		{"1", "7", "m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, `{"join_rule":"restricted"}`},
		{"8", "12", "m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, `{"allow":[],"join_rule":"restricted"}`},
		{"1", "10", "m.room.power_levels", levels, levelsKept},
		{"11", "12", "m.room.power_levels", levels, levelsKept11},
		{"1", "5", "m.room.aliases", `{"aliases":["#a:b"],"x":1}`, `{"aliases":["#a:b"]}`},
		{"6", "12", "m.room.aliases", `{"aliases":["#a:b"],"x":1}`, `{}`},
		{"1", "12", "m.room.history_visibility", `{"history_visibility":"shared","x":1}`, `{"history_visibility":"shared"}`},
		{"1", "10", "m.room.redaction", `{"reason":"x","redacts":"$a"}`, `{}`},
		{"11", "12", "m.room.redaction", `{"reason":"x","redacts":"$a"}`, `{"redacts":"$a"}`},
	} {
		inside := false
		for _, v := range roomversion.All() {
			inside = inside || v.ID == test.from
			if inside {
				checkRedaction(t, v, test.typ, test.in, test.out)
			}
			inside = inside && v.ID != test.to
		}
	}
}

func checkRedaction(t *testing.T, v *roomversion.Version, typ, in, out string) {
	t.Helper()
	got, err := pdu.Redact(v, []byte(`{"auth_events":[],"content":`+in+`,"depth":1,"event_id":"$a:b","hashes":{"sha256":"x"},"membership":"join","origin":"b","origin_server_ts":1,"prev_events":[],"prev_state":[],"redacts":"$b:c","replaces_state":"$c:d","room_id":"!a:b","sender":"@a:b","signatures":{"b":{}},"state_key":"","type":"`+typ+`","unsigned":{"age":1}}`))
	want := `{"auth_events":[],"content":` + out + `,"depth":1,"event_id":"$a:b","hashes":{"sha256":"x"},"membership":"join","origin":"b","origin_server_ts":1,"prev_events":[],"prev_state":[],"room_id":"!a:b","sender":"@a:b","signatures":{"b":{}},"state_key":"","type":"` + typ + `"}`
	if v.KeepMore {
		want = `{"auth_events":[],"content":` + out + `,"depth":1,"event_id":"$a:b","hashes":{"sha256":"x"},"origin_server_ts":1,"prev_events":[],"room_id":"!a:b","sender":"@a:b","signatures":{"b":{}},"state_key":"","type":"` + typ + `"}`
	}
	if err != nil || string(got) != want {
		t.Errorf("version %s, %s:\n got %s, %v\nwant %s", v.ID, typ, got, err, want)
	}
}

func TestClientsFindRedactsInBothPlaces(t *testing.T) {
	for _, name := range []string{"10", "11", "12"} {
		v := version(t, name)
		b := message(v)
		b.Type, b.Content, b.Redacts = "m.room.redaction", json.RawMessage(`{"reason":"spam"}`), "$bad"
		e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		if p, err := pdu.Parse(v, e.JSON()); err != nil || p.Redacts != "$bad" || e.Redacts != "$bad" {
			t.Errorf("version %s: redacts %q, %v", name, p.Redacts, err)
		}
		var client struct {
			Redacts string `json:"redacts"`
			RoomID  string `json:"room_id"`
			Content struct {
				Redacts, Reason string
			} `json:"content"`
		}
		if err := json.Unmarshal(e.ClientJSON(pdu.ClientFormat{}), &client); err != nil {
			t.Fatal(err)
		}
		if client.Redacts != "$bad" || client.Content.Redacts != "$bad" || client.Content.Reason != "spam" || client.RoomID != e.RoomID {
			t.Errorf("version %s: %+v", name, client)
		}
	}
}

func TestClientFormat(t *testing.T) {
	v := version(t, "11")
	b := message(v)
	b.Type, b.StateKey, b.Content = "m.room.topic", ptr(`a"b`), json.RawMessage(`{"topic":"x"}`)
	b.Unsigned = json.RawMessage(`{"age":1,"invite_room_state":[],"transaction_id":"forged","k":1}`)
	e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	got := string(e.ClientJSON(pdu.ClientFormat{OmitRoomID: true, Unsigned: json.RawMessage(`{"age":5,"k":2}`)}))
	want := `{"content":{"topic":"x"},"event_id":"` + e.ID + `","origin_server_ts":1725000000000,"sender":"@alice:example.org","state_key":"a\"b","type":"m.room.topic","unsigned":{"invite_room_state":[],"age":5,"k":2}}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, want := string(e.StrippedJSON()), `{"content":{"topic":"x"},"sender":"@alice:example.org","state_key":"a\"b","type":"m.room.topic"}`; got != want {
		t.Errorf("stripped: %s", got)
	}
}
