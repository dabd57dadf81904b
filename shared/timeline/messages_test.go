package timeline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/timeline"
)

// page asks for one page of messages.
func (s *server) page(user string, req timeline.MessagesRequest, filter string) (*timeline.MessagesResponse, error) {
	s.t.Helper()
	f, err := timeline.ParseRoomEventFilter(filter)
	s.ok(err)
	req.Filter = f
	return s.timeline.Messages(s.ctx, viewer(user), req)
}

// history is what a user sees of a room's messages and of the user's own
// memberships.
func (s *server) history(user, room string) []string {
	s.t.Helper()
	var list []string
	for _, e := range s.events(s.all(user, room, 3)) {
		if e.StateKey == nil || *e.StateKey == user {
			list = append(list, e.short())
		}
	}
	return list
}

func TestPagesMeetInBothDirections(t *testing.T) {
	s := open(t)
	room := s.create()
	for i := range 20 {
		s.say(room, alice, fmt.Sprint(i))
	}
	whole := s.bodies(s.all(alice, room, 1000))
	if len(whole) != 26 {
		t.Fatalf("there are %d events", len(whole))
	}
	for _, limit := range []int{1, 2, 7, 25, 26, 27} {
		s.same(fmt.Sprintf("forwards by %d", limit), s.bodies(s.all(alice, room, limit)), whole)
		var back []string
		for from, first := "", true; first || from != ""; first = false {
			resp, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: from, Limit: limit}, "")
			s.ok(err)
			if from != "" && resp.Start != from {
				t.Errorf("asked from %s, it starts at %s", from, resp.Start)
			}
			back = append(back, s.bodies(resp.Chunk)...)
			from = resp.End
		}
		slices.Reverse(back)
		s.same(fmt.Sprintf("backwards by %d", limit), back, whole)
	}
	// A token is a boundary, whichever way one reads from it.
	resp, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, Limit: 5}, "")
	s.ok(err)
	there, err := s.page(alice, timeline.MessagesRequest{Room: room, From: resp.End, To: resp.Start, Limit: 100}, "")
	s.ok(err)
	s.same("back again", s.bodies(there.Chunk), []string{"15", "16", "17", "18", "19"})
	if there.End != "" {
		t.Error("there is nothing after the end")
	}
	there, err = s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: resp.Start, To: resp.End, Limit: 100}, "")
	s.ok(err)
	s.same("up to a token", s.bodies(there.Chunk), s.bodies(resp.Chunk))
}

func TestMessagesTakesTokensOfSync(t *testing.T) {
	s := open(t)
	room, other := s.create(), s.create()
	s.say(room, alice, "one")
	a := s.sync(alice, "", "")
	s.say(room, alice, "two", "three")
	s.say(other, alice, "elsewhere")
	b := s.sync(alice, a.NextBatch, "")
	s.say(room, alice, "four")
	between, err := s.page(alice, timeline.MessagesRequest{Room: room, From: a.NextBatch, To: b.NextBatch, Limit: 100}, "")
	s.ok(err)
	s.same("between two syncs", s.bodies(between.Chunk), []string{"two", "three"})
	back, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: b.NextBatch, Limit: 2}, "")
	s.ok(err)
	s.same("before a sync", s.bodies(back.Chunk), []string{"three", "two"})
	back, err = s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: b.Rooms.Join[room].Timeline.PrevBatch, Limit: 1}, "")
	s.ok(err)
	s.same("before the timeline", s.bodies(back.Chunk), []string{"one"})
	_, err = s.page(bob, timeline.MessagesRequest{Room: room, From: a.NextBatch}, "")
	s.refused(err, "M_FORBIDDEN")
	s.join(room, bob)
	_, err = s.page(bob, timeline.MessagesRequest{Room: room, From: a.NextBatch}, "")
	s.refused(err, "M_INVALID_PARAM")
}

func TestHistoryVisibility(t *testing.T) {
	for v, want := range map[string][]string{
		"world_readable": {"before", "@bob:test invite", "invited", "@bob:test join", "joined", "@bob:test leave"},
		"shared":         {"before", "@bob:test invite", "invited", "@bob:test join", "joined", "@bob:test leave"},
		"invited":        {"@bob:test invite", "invited", "@bob:test join", "joined", "@bob:test leave"},
		"joined":         {"@bob:test join", "joined", "@bob:test leave"},
	} {
		t.Run(v, func(t *testing.T) {
			s := open(t)
			room := s.create(visibility(v))
			before := s.say(room, alice, "before")
			s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
			s.say(room, alice, "invited")
			s.join(room, bob)
			s.say(room, alice, "joined")
			s.same("a member", s.history(bob, room), want[:len(want)-1])
			s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
			after := s.say(room, alice, "after")
			s.same("after leaving", s.history(bob, room), want)

			_, err := s.timeline.OneEvent(s.ctx, viewer(bob), room, before)
			if visible := want[0] == "before"; visible {
				s.ok(err)
			} else {
				s.refused(err, "M_NOT_FOUND")
			}
			_, err = s.timeline.OneEvent(s.ctx, viewer(bob), room, after)
			s.refused(err, "M_NOT_FOUND")

			// Somebody who never was there.
			_, err = s.page(carol, timeline.MessagesRequest{Room: room, Limit: 10}, "")
			if v == "world_readable" {
				s.ok(err)
			} else {
				s.refused(err, "M_FORBIDDEN")
			}
		})
	}
}

func TestStrangersSeeWhatWasWorldReadable(t *testing.T) {
	s := open(t)
	room := s.create()
	hidden := s.say(room, alice, "hidden")
	open := s.set(room, alice, "m.room.history_visibility", "", `{"history_visibility":"world_readable"}`)
	public := s.say(room, alice, "public")
	s.same("a stranger", s.history(carol, room), []string{"public"})
	for id, code := range map[string]string{hidden: "M_NOT_FOUND", open: "", public: "", "$unknown": "M_NOT_FOUND"} {
		_, err := s.timeline.OneEvent(s.ctx, viewer(carol), room, id)
		if code == "" {
			s.ok(err)
		} else {
			s.refused(err, code)
		}
	}
	s.set(room, alice, "m.room.history_visibility", "", `{"history_visibility":"shared"}`)
	_, err := s.page(carol, timeline.MessagesRequest{Room: room, Limit: 1}, "")
	s.refused(err, "M_FORBIDDEN")
}

func TestUnknownRoomIsLikeAForbiddenOne(t *testing.T) {
	s := open(t)
	room := s.create()
	for _, r := range []string{room, "!unknown:test"} {
		_, err := s.page(bob, timeline.MessagesRequest{Room: r, Limit: 1}, "")
		s.refused(err, "M_FORBIDDEN")
		_, err = s.timeline.State(s.ctx, viewer(bob), r)
		s.refused(err, "M_FORBIDDEN")
		_, err = s.timeline.MemberEvents(s.ctx, viewer(bob), timeline.MembersRequest{Room: r})
		s.refused(err, "M_FORBIDDEN")
		_, err = s.timeline.JoinedMembers(s.ctx, bob, r)
		s.refused(err, "M_FORBIDDEN")
		_, err = s.timeline.OneEvent(s.ctx, viewer(bob), r, "$x")
		s.refused(err, "M_NOT_FOUND")
	}
}

func TestVisibilityIsKnownBeyondWhatTheCursorKeeps(t *testing.T) {
	s := open(t)
	room := s.create(visibility("joined"))
	s.join(room, bob)
	s.say(room, alice, "seen")
	for range 12 {
		s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
		s.say(room, alice, "unseen")
		s.join(room, bob)
	}
	got := s.history(bob, room)
	if !slices.Contains(got, "seen") || slices.Contains(got, "unseen") {
		t.Errorf("history is %q", got)
	}
}

func TestMessagesFilterAndLoadMembers(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.say(room, alice, "a")
	s.say(room, bob, "b")
	resp, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, Limit: 10},
		`{"types":["m.room.message"],"senders":["@bob:test"],"lazy_load_members":true}`)
	s.ok(err)
	s.same("chunk", s.bodies(resp.Chunk), []string{"b"})
	s.same("state", s.bodies(resp.State), []string{"@bob:test join"})
	resp, err = s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, Limit: 0}, "")
	s.ok(err)
	if len(resp.Chunk) != 0 || resp.End == "" || resp.Chunk == nil {
		t.Errorf("limit 0 gives %+v", resp)
	}
	_, err = s.page(alice, timeline.MessagesRequest{Room: room, Limit: -1}, "")
	s.refused(err, "M_INVALID_PARAM")
}

func TestStateIsThatOfTheDeparture(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.set(room, alice, "m.room.topic", "", `{"topic":"then"}`)
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	s.set(room, alice, "m.room.topic", "", `{"topic":"now"}`)
	s.set(room, alice, "m.room.name", "", `{"name":"now"}`)
	s.join(room, carol)

	topic, err := s.timeline.StateEvent(s.ctx, viewer(bob), room, "m.room.topic", "", true)
	s.ok(err)
	s.same("topic of then", []string{string(topic)}, []string{`{"topic":"then"}`})
	_, err = s.timeline.StateEvent(s.ctx, viewer(bob), room, "m.room.name", "", true)
	s.refused(err, "M_NOT_FOUND")
	all, err := s.timeline.State(s.ctx, viewer(bob), room)
	s.ok(err)
	if got := s.bodies(all); slices.Contains(got, "@carol:test join") || !slices.Contains(got, "@bob:test leave") {
		t.Errorf("state is %q", got)
	}
	members, err := s.timeline.MemberEvents(s.ctx, viewer(bob), timeline.MembersRequest{Room: room})
	s.ok(err)
	s.same("members", s.bodies(members), []string{"@alice:test join", "@bob:test leave"})
	event, err := s.timeline.StateEvent(s.ctx, viewer(alice), room, "m.room.topic", "", false)
	s.ok(err)
	if e := s.events([]json.RawMessage{event})[0]; e.Content["topic"] != "now" || e.Room != room || e.Unsigned["prev_content"] == nil {
		t.Errorf("event is %s", event)
	}
	_, err = s.timeline.JoinedMembers(s.ctx, bob, room)
	s.refused(err, "M_FORBIDDEN")
	s.ok(s.rooms.Forget(s.ctx, bob, room))
	_, err = s.timeline.State(s.ctx, viewer(bob), room)
	s.refused(err, "M_FORBIDDEN")
}

func TestMembersAreFilteredAndOfTheirTime(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	then := s.sync(alice, "", "")
	s.ok(s.rooms.Ban(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: carol}))
	for _, c := range []struct {
		req  timeline.MembersRequest
		want []string
	}{
		{timeline.MembersRequest{}, []string{"@alice:test join", "@bob:test ban", "@carol:test invite"}},
		{timeline.MembersRequest{Membership: "join"}, []string{"@alice:test join"}},
		{timeline.MembersRequest{NotMembership: "ban"}, []string{"@alice:test join", "@carol:test invite"}},
		{timeline.MembersRequest{Membership: "ban", NotMembership: "join"}, []string{"@bob:test ban", "@carol:test invite"}},
		{timeline.MembersRequest{At: then.NextBatch}, []string{"@alice:test join", "@bob:test join"}},
		{timeline.MembersRequest{At: then.Rooms.Join[room].Timeline.PrevBatch}, nil},
	} {
		c.req.Room = room
		got, err := s.timeline.MemberEvents(s.ctx, viewer(alice), c.req)
		s.ok(err)
		s.same(fmt.Sprintf("%+v", c.req), s.bodies(got), c.want)
	}
	_, err := s.timeline.MemberEvents(s.ctx, viewer(alice), timeline.MembersRequest{Room: room, Membership: "guest"})
	s.refused(err, "M_INVALID_PARAM")
	joined, err := s.timeline.JoinedMembers(s.ctx, alice, room)
	s.ok(err)
	if _, ok := joined[alice]; !ok || len(joined) != 1 {
		t.Errorf("joined are %v", joined)
	}
}

func TestFiltersAreKeptAsTheyWere(t *testing.T) {
	s := open(t)
	raw := json.RawMessage(`{"room": {"timeline":{"limit":1}}, "unknown":1}`)
	id, err := s.timeline.DefineFilter(s.ctx, alice, raw)
	s.ok(err)
	again, err := s.timeline.DefineFilter(s.ctx, alice, raw)
	s.ok(err)
	if id != again || id[0] == '{' {
		t.Errorf("ids are %q and %q", id, again)
	}
	got, err := s.timeline.Filter(s.ctx, alice, id)
	s.ok(err)
	if string(got) != string(raw) {
		t.Errorf("filter is %s", got)
	}
	_, err = s.timeline.Filter(s.ctx, bob, id)
	s.refused(err, "M_NOT_FOUND")
	_, err = s.timeline.DefineFilter(s.ctx, alice, json.RawMessage(`{"room":[]}`))
	s.refused(err, "M_BAD_JSON")
}

func TestStoredFiltersAreLimited(t *testing.T) {
	s := open(t)
	define := func(i int) error {
		_, err := s.timeline.DefineFilter(s.ctx, alice, json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)))
		return err
	}
	for i := range 1000 {
		s.ok(define(i))
	}
	for range 2 {
		s.refused(define(1000), "M_FORBIDDEN")
	}
	s.ok(define(999)) // it is there already
}

// Whoever comes and goes often sees each departure, also those of long ago.
func TestAllOwnDeparturesAreVisible(t *testing.T) {
	s := open(t)
	room := s.create(visibility("joined"))
	var want []string
	for range 12 {
		s.join(room, bob)
		s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
		s.say(room, alice, "unseen")
		want = append(want, "@bob:test join", "@bob:test leave")
	}
	got := slices.DeleteFunc(s.bodies(s.all(bob, room, 7)), func(e string) bool { return !strings.HasPrefix(e, bob) && e != "unseen" })
	s.same("history", got, want)
}
