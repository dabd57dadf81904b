package timeline_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/timeline"
)

func (s *server) one(v timeline.Viewer, room, id string) event {
	s.t.Helper()
	raw, err := s.timeline.OneEvent(s.ctx, v, room, id)
	s.ok(err)
	return s.events([]json.RawMessage{raw})[0]
}

func TestTransactionIDIsForItsDeviceOnly(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	sent, err := s.rooms.Send(s.ctx, room, rooms.Draft{
		Type: "m.room.message", Sender: alice, Content: json.RawMessage(`{"body":"x"}`), Txn: rooms.Txn{Device: "D", Endpoint: "send", ID: "t1"},
	})
	s.ok(err)
	for v, want := range map[timeline.Viewer]any{
		{User: alice, Device: "D"}:     "t1",
		{User: alice, Device: "OTHER"}: nil,
		{User: bob, Device: "D"}:       nil,
	} {
		if e := s.one(v, room, sent.ID); e.Unsigned["transaction_id"] != want {
			t.Errorf("%v gets %v", v, e.Unsigned["transaction_id"])
		}
	}
}

func TestRedactedEventsArePrunedEverywhere(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	id := s.say(room, alice, "secret")
	topic := s.set(room, alice, "m.room.topic", "", `{"topic":"secret"}`)
	for _, target := range []string{id, topic} {
		_, err := s.rooms.Redact(s.ctx, room, target, "spam", alice, rooms.Txn{})
		s.ok(err)
	}
	s.deliver(room)
	s.set(room, alice, "m.room.topic", "", `{"topic":"new"}`)
	resp := s.syncs(bob, timeline.SyncRequest{Since: since})
	messages := s.all(bob, room, 100)
	state, err := s.timeline.State(s.ctx, viewer(bob), room)
	s.ok(err)
	for what, v := range map[string]any{"sync": resp, "messages": messages, "state": state, "initial": s.sync(bob, "", "")} {
		if b, _ := json.Marshal(v); strings.Contains(string(b), "secret") {
			t.Errorf("%s shows what was redacted: %s", what, b)
		}
	}
	e := s.one(viewer(bob), room, id)
	because, _ := e.Unsigned["redacted_because"].(map[string]any)
	if len(e.Content) != 0 || because["type"] != "m.room.redaction" || because["redacts"] != id {
		t.Errorf("event is %s", e.Raw)
	}
}

func TestStateEventsShowWhatTheyReplaced(t *testing.T) {
	s := open(t)
	room := s.create()
	first := s.set(room, alice, "m.room.topic", "", `{"topic":"<one>"}`)
	second := s.set(room, alice, "m.room.topic", "", `{"topic":"two"}`)
	e := s.one(viewer(alice), room, second)
	prev, _ := e.Unsigned["prev_content"].(map[string]any)
	if e.Unsigned["replaces_state"] != first || prev["topic"] != "<one>" || !strings.Contains(string(e.Raw), "<one>") {
		t.Errorf("event is %s", e.Raw)
	}
	if e := s.one(viewer(alice), room, first); e.Unsigned["prev_content"] != nil {
		t.Errorf("event is %s", e.Raw)
	}
}

func TestEventsSayTheMembershipOfTheReader(t *testing.T) {
	s := open(t)
	room := s.create()
	before := s.say(room, alice, "before")
	s.join(room, bob)
	after := s.say(room, alice, "after")
	for id, want := range map[string]string{before: "leave", after: "join"} {
		if e := s.one(viewer(bob), room, id); e.Unsigned["membership"] != want {
			t.Errorf("event is %s", e.Raw)
		}
	}
}
