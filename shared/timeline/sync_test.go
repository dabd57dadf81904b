package timeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

const lazy = `{"room":{"state":{"lazy_load_members":true}}}`

func limit(n int) string { return fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, n) }

func TestInitialSyncHasTheStateBeforeTheTimeline(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.say(room, alice, "one", "two", "three")
	r := s.sync(bob, "", limit(2)).Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"two", "three"})
	if !r.Timeline.Limited {
		t.Error("there is more before the timeline, and it is not limited")
	}
	if got := s.bodies(r.State.Events); len(got) != 7 || !slices.Contains(got, "@bob:test join") {
		t.Errorf("state is %q", got)
	}
	if r.Summary.Joined != 2 || !slices.Equal(r.Summary.Heroes, []string{alice}) {
		t.Errorf("summary is %+v", r.Summary)
	}
	for _, e := range s.events(append(r.State.Events, r.Timeline.Events...)) {
		if e.Room != "" {
			t.Errorf("%s has a room_id", e.short())
		}
	}
}

func TestNewRoomFitsItsTimeline(t *testing.T) {
	s := open(t)
	room := s.create()
	r := s.sync(alice, "", limit(50)).Rooms.Join[room]
	if len(r.State.Events) != 0 || r.Timeline.Limited {
		t.Errorf("limited is %t, state is %q", r.Timeline.Limited, s.bodies(r.State.Events))
	}
}

func TestIncrementalSyncHasWhatIsNew(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	resp := s.sync(bob, since, "")
	if len(resp.Rooms.Join) != 0 {
		t.Errorf("nothing happened, and the answer has %v", resp.Rooms.Join)
	}
	s.say(room, alice, "hello")
	r := s.sync(bob, since, "").Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"hello"})
	if r.Timeline.Limited || len(r.State.Events) != 0 || r.Summary != nil {
		t.Errorf("a message changed more than the timeline: %+v", r)
	}
	again := s.sync(bob, since, "").Rooms.Join[room]
	s.same("the same request again", s.bodies(again.Timeline.Events), []string{"hello"})
}

func TestSyncTellsExactlyWhatTheLogTells(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.say(room, alice, "told")
	// Written, and not told yet.
	_, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: json.RawMessage(`{"body":"not told"}`)})
	s.ok(err)
	resp := s.sync(bob, since, "")
	s.same("before fan-out", s.bodies(resp.Rooms.Join[room].Timeline.Events), []string{"told"})
	s.deliver(room)
	resp = s.sync(bob, resp.NextBatch, "")
	s.same("after fan-out", s.bodies(resp.Rooms.Join[room].Timeline.Events), []string{"not told"})
}

func TestLimitedSyncHasTheStateOfTheGap(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.set(room, alice, "m.room.topic", "", `{"topic":"old"}`)
	s.set(room, alice, "m.room.topic", "", `{"topic":"new"}`)
	s.join(room, carol)
	s.say(room, alice, "one", "two")
	s.set(room, alice, "m.room.name", "", `{"name":"later"}`)

	r := s.sync(bob, since, limit(2)).Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"two", "m.room.name"})
	s.same("state", s.bodies(r.State.Events), []string{"m.room.topic", "@carol:test join"})
	if topic := s.events(r.State.Events)[0].Content["topic"]; topic != "new" {
		t.Errorf("topic is %v", topic)
	}
	if r.Summary == nil || r.Summary.Joined != 3 {
		t.Errorf("summary is %+v", r.Summary)
	}
	got := s.syncs(bob, timeline.SyncRequest{Since: since, Filter: limit(2), StateAfter: true}).Rooms.Join[room]
	s.same("state_after", s.bodies(got.StateAfter.Events), []string{"m.room.topic", "@carol:test join", "m.room.name"})
	if got.State != nil || got.StateAfterUnstable != nil {
		t.Error("state_after is not alone")
	}
	got = s.syncs(bob, timeline.SyncRequest{Since: since, Filter: limit(2), StateAfterUnstable: true}).Rooms.Join[room]
	if b, _ := json.Marshal(got); !strings.Contains(string(b), `"org.matrix.msc4222.state_after":{"events":[`) || strings.Contains(string(b), `"state_after"`) {
		t.Errorf("the unstable spelling gives %s", b)
	}
}

func TestStateAfterIsThereEvenIfEmpty(t *testing.T) {
	s := open(t)
	room := s.create()
	since := s.sync(alice, "", "").NextBatch
	s.say(room, alice, "hello")
	r := s.syncs(alice, timeline.SyncRequest{Since: since, StateAfter: true}).Rooms.Join[room]
	if b, _ := json.Marshal(r); !strings.Contains(string(b), `"state_after":{"events":[]}`) {
		t.Errorf("room is %s", b)
	}
}

func TestStateThatAFilterHoldsBackIsStillTold(t *testing.T) {
	s := open(t)
	room := s.create()
	since := s.sync(alice, "", "").NextBatch
	s.set(room, alice, "m.room.topic", "", `{"topic":"x"}`)
	s.say(room, alice, "hello")
	r := s.sync(alice, since, `{"room":{"timeline":{"types":["m.room.message"]}}}`).Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"hello"})
	s.same("state", s.bodies(r.State.Events), []string{"m.room.topic"})
}

func TestFullStateIsThatOfAllRooms(t *testing.T) {
	s := open(t)
	quiet, busy := s.create(), s.create()
	since := s.sync(alice, "", "").NextBatch
	s.say(busy, alice, "hello")
	resp := s.syncs(alice, timeline.SyncRequest{Since: since, FullState: true})
	for room, want := range map[string][]string{quiet: {}, busy: {"hello"}} {
		r := resp.Rooms.Join[room]
		if r == nil {
			t.Fatalf("%s is missing", room)
		}
		s.same("timeline", s.bodies(r.Timeline.Events), want)
		if len(r.State.Events) != len(s.head(room)) {
			t.Errorf("%d of %d state events", len(r.State.Events), len(s.head(room)))
		}
	}
}

func TestInviteShowsTheRoom(t *testing.T) {
	s := open(t)
	room := s.create(rooms.StateEvent{Type: "m.room.encryption", Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)})
	s.set(room, alice, "m.room.name", "", `{"name":"Tea"}`)
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	for _, from := range []string{since, ""} {
		resp := s.sync(bob, from, "")
		if resp.Rooms.Invite[room] == nil || len(resp.Rooms.Join) > 0 {
			t.Fatalf("rooms are %+v", resp.Rooms)
		}
		got := s.bodies(resp.Rooms.Invite[room].State.Events)
		slices.Sort(got)
		s.same("stripped state", got, []string{"@alice:test join", "@bob:test invite", "m.room.create", "m.room.encryption", "m.room.join_rules", "m.room.name"})
		for _, e := range resp.Rooms.Invite[room].State.Events {
			var keys map[string]json.RawMessage
			s.ok(json.Unmarshal(e, &keys))
			if len(keys) != 4 {
				t.Errorf("stripped event has more than it may: %s", e)
			}
		}
	}
}

func TestRefusedAndWithdrawnInvitesLeave(t *testing.T) {
	for name, end := range map[string]func(s *server, room string) error{
		"refused": func(s *server, room string) error { return s.rooms.Leave(s.ctx, bob, room, "") },
		"withdrawn": func(s *server, room string) error {
			return s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: alice, Target: bob})
		},
		"banned": func(s *server, room string) error {
			return s.rooms.Ban(s.ctx, room, rooms.Membership{Sender: alice, Target: bob})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			room := s.create()
			s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
			since := s.sync(bob, "", "").NextBatch
			s.say(room, alice, "secret")
			s.ok(end(s, room))
			resp := s.sync(bob, since, "")
			r := resp.Rooms.Leave[room]
			if r == nil || len(r.Timeline.Events) != 1 || len(r.State.Events) != 0 || len(resp.Rooms.Invite) > 0 {
				t.Fatalf("rooms are %+v", resp.Rooms)
			}
			if e := s.events(r.Timeline.Events)[0]; *e.StateKey != bob {
				t.Errorf("timeline is %s", e.Raw)
			}
			if left := s.sync(bob, "", "").Rooms.Leave; len(left) > 0 {
				t.Errorf("an initial sync has %v", left)
			}
		})
	}
}

func TestKickedUserLearnsOfItAndOfNothingLater(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.say(room, alice, "before")
	s.ok(s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	s.say(room, alice, "after")
	resp := s.sync(bob, since, "")
	s.same("timeline", s.bodies(resp.Rooms.Leave[room].Timeline.Events), []string{"before", "@bob:test leave"})
	s.ok(s.rooms.Ban(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	next := s.sync(bob, resp.NextBatch, "")
	s.same("the ban", s.bodies(next.Rooms.Leave[room].Timeline.Events), []string{"@bob:test ban"})
	both := s.sync(bob, since, "")
	s.same("both at once", s.bodies(both.Rooms.Leave[room].Timeline.Events), []string{"before", "@bob:test leave", "@bob:test ban"})
}

func TestWhoComesBackGetsTheRoomAnew(t *testing.T) {
	s := open(t)
	room := s.create(visibility("joined"))
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	s.set(room, alice, "m.room.topic", "", `{"topic":"missed"}`)
	s.say(room, alice, "missed")
	s.join(room, bob)
	s.say(room, alice, "welcome back")
	r := s.sync(bob, since, "").Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"@bob:test join", "welcome back"})
	if !r.Timeline.Limited {
		t.Error("the timeline has a hole and is not limited")
	}
	if got := s.bodies(r.State.Events); !slices.Contains(got, "m.room.topic") || !slices.Contains(got, "m.room.create") {
		t.Errorf("state is %q", got)
	}
}

// A client that did not see the user leave takes what is in a timeline for new,
// unless that is limited.
func TestWhoComesBackIsNotToldTheSameTwice(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	s.join(room, bob)
	r := s.sync(bob, since, limit(100)).Rooms.Join[room]
	if got := s.bodies(r.Timeline.Events); slices.Contains(got, "m.room.create") && !r.Timeline.Limited {
		t.Errorf("the timeline is not limited and holds what is known: %q", got)
	}
	carols := s.sync(carol, "", "").NextBatch
	s.join(room, carol)
	if r := s.sync(carol, carols, limit(100)).Rooms.Join[room]; r.Timeline.Limited {
		t.Error("the timeline of a room that is new and fits in is limited")
	}
}

func TestLeaveShowsUpToTheDeparture(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.say(room, alice, "seen")
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	s.say(room, alice, "not seen")
	s.same("incremental", s.bodies(s.sync(bob, since, "").Rooms.Leave[room].Timeline.Events), []string{"@bob:test leave"})
	if left := s.sync(bob, "", "").Rooms.Leave; len(left) != 0 {
		t.Errorf("without include_leave: %v", left)
	}
	include := `{"room":{"include_leave":true,"timeline":{"limit":2}}}`
	r := s.sync(bob, "", include).Rooms.Leave[room]
	s.same("include_leave", s.bodies(r.Timeline.Events), []string{"seen", "@bob:test leave"})
	s.ok(s.rooms.Forget(s.ctx, bob, room))
	if left := s.sync(bob, "", include).Rooms.Leave; len(left) != 0 {
		t.Errorf("a forgotten room is there: %v", left)
	}
	if left := s.sync(bob, since, "").Rooms.Leave; len(left) != 1 {
		t.Error("another device does not learn that the user left")
	}
}

func TestLazyClientGetsTheMembersItNeeds(t *testing.T) {
	s := open(t)
	room := s.create()
	s.set(room, alice, "m.room.name", "", `{"name":"n"}`)
	s.join(room, bob, carol)
	s.say(room, alice, "one")
	filter := `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`
	members := func(r *timeline.SyncRoom) []string {
		var list []string
		for _, m := range s.bodies(r.State.Events) {
			if strings.HasSuffix(m, " join") {
				list = append(list, m)
			}
		}
		return list
	}
	resp := s.sync(bob, "", filter)
	s.same("initial", members(resp.Rooms.Join[room]), []string{"@alice:test join", "@bob:test join"})
	s.say(room, carol, "two")
	r := s.sync(bob, resp.NextBatch, filter).Rooms.Join[room]
	s.same("incremental", members(r), []string{"@carol:test join"})
	// In a gap, members that changed are told whoever wrote.
	_ = s.set(room, carol, "m.room.member", carol, `{"membership":"join","displayname":"C"}`)
	s.say(room, alice, "three", "four")
	r = s.sync(bob, resp.NextBatch, filter).Rooms.Join[room]
	s.same("limited", members(r), []string{"@carol:test join"})
	redundant := strings.Replace(filter, `"lazy_load_members":true`, `"lazy_load_members":true,"include_redundant_members":true`, 1)
	r = s.sync(bob, resp.NextBatch, redundant).Rooms.Join[room]
	s.same("limited, with whom the client knows", members(r), []string{"@alice:test join", "@carol:test join"})
}

func TestHeroesNameARoomWithoutAName(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: carol}))
	s.deliver(room)
	r := s.sync(bob, "", lazy).Rooms.Join[room]
	if r.Summary.Joined != 2 || r.Summary.Invited != 1 {
		t.Errorf("counts are %+v", r.Summary)
	}
	s.same("heroes", r.Summary.Heroes, []string{alice, carol})
	all := s.bodies(append(r.State.Events, r.Timeline.Events...))
	for _, m := range []string{"@alice:test join", "@carol:test invite"} {
		if !slices.Contains(all, m) {
			t.Errorf("the client has no %q", m)
		}
	}
	s.ok(s.rooms.Leave(s.ctx, carol, room, ""))
	s.ok(s.rooms.Leave(s.ctx, alice, room, ""))
	s.deliver(room)
	r = s.sync(bob, "", "").Rooms.Join[room]
	s.same("when all are gone", r.Summary.Heroes, []string{carol, alice})
}

func TestRoomFiltersSelectRooms(t *testing.T) {
	s := open(t)
	a, b := s.create(), s.create()
	for filter, want := range map[string][]string{
		fmt.Sprintf(`{"room":{"rooms":[%q]}}`, a):                           {a},
		fmt.Sprintf(`{"room":{"not_rooms":[%q]}}`, a):                       {b},
		fmt.Sprintf(`{"room":{"rooms":[%q,%q],"not_rooms":[%q]}}`, a, b, b): {a},
		`{"room":{"rooms":[]}}`:                                             nil,
	} {
		var got []string
		for room := range s.sync(alice, "", filter).Rooms.Join {
			got = append(got, room)
		}
		s.same(filter, got, want)
	}
}

func TestFiltersSelectEventsAndFields(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(alice, "", "").NextBatch
	s.say(room, alice, "from alice")
	s.say(room, bob, "from bob")
	s.set(room, alice, "m.room.topic", "", `{"topic":"t"}`)
	for filter, want := range map[string][]string{
		`{"room":{"timeline":{"types":["m.room.*"],"not_types":["m.room.topic"]}}}`: {"from alice", "from bob"},
		`{"room":{"timeline":{"senders":["@bob:test"]}}}`:                           {"from bob"},
		`{"room":{"timeline":{"not_senders":["@bob:test"]}}}`:                       {"from alice", "m.room.topic"},
		`{"room":{"timeline":{"contains_url":true}}}`:                               {},
		fmt.Sprintf(`{"room":{"timeline":{"not_rooms":[%q]}}}`, room):               {},
		`{"room":{"timeline":{"limit":0}}}`:                                         {},
	} {
		var got []string
		if r := s.sync(alice, since, filter).Rooms.Join[room]; r != nil {
			got = s.bodies(r.Timeline.Events)
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %q", filter, got)
		}
	}
	r := s.sync(alice, since, `{"event_fields":["type","content.body"],"room":{"timeline":{"types":["m.room.message"]}}}`).Rooms.Join[room]
	if e := string(r.Timeline.Events[0]); e != `{"content":{"body":"from alice"},"type":"m.room.message"}` {
		t.Errorf("event is %s", e)
	}
}

// A room that the user joins while the answer is being made is told of as a whole,
// later, and not by its account data alone.
func TestAccountDataDoesNotMakeARoomJoined(t *testing.T) {
	for n := int64(1); ; n++ {
		var h hook
		opt := local.NewMemory().Options()
		opt.Fault = h.fault
		s := openWith(t, opt, clock.System{})
		room := s.create()
		since := s.sync(bob, "", "").NextBatch
		s.ok(s.accounts.SetAccountData(s.ctx, bob, room, "m.tag", json.RawMessage(`{"tags":{}}`)))
		h.before(n, func() { s.join(room, bob) })
		resp := s.sync(bob, since, "")
		if h.over() {
			return
		}
		told := 0
		for range 2 {
			if r := resp.Rooms.Join[room]; r != nil {
				if told++; r.State == nil {
					t.Errorf("joined before the call %d: the room is told of without its state", n)
				}
			}
			resp = s.sync(bob, resp.NextBatch, "")
		}
		if told != 1 {
			t.Errorf("joined before the call %d: the room is told of %d times", n, told)
		}
	}
}

func TestAccountDataIsTold(t *testing.T) {
	s := open(t)
	room := s.create()
	s.ok(s.accounts.SetAccountData(s.ctx, alice, "", "a.type", json.RawMessage(`{"x":1}`)))
	s.ok(s.accounts.SetAccountData(s.ctx, alice, room, "m.tag", json.RawMessage(`{"tags":{}}`)))
	types := func(e *timeline.Events) []string {
		if e == nil {
			return nil
		}
		var list []string
		for _, ev := range s.events(e.Events) {
			list = append(list, ev.Type)
		}
		return list
	}
	resp := s.sync(alice, "", "")
	s.same("initial", types(resp.AccountData), []string{"a.type", "m.push_rules"})
	s.same("initial of the room", types(resp.Rooms.Join[room].AccountData), []string{"m.tag"})
	since := resp.NextBatch
	s.ok(s.accounts.SetAccountData(s.ctx, alice, "", "b.type", json.RawMessage(`{}`)))
	s.ok(s.accounts.SetAccountData(s.ctx, alice, room, "m.fully_read", json.RawMessage(`{"event_id":"$x"}`)))
	resp = s.sync(alice, since, "")
	s.same("incremental", types(resp.AccountData), []string{"b.type"})
	s.same("incremental of the room", types(resp.Rooms.Join[room].AccountData), []string{"m.fully_read"})
	resp = s.sync(alice, since, `{"account_data":{"not_types":["*"]},"room":{"account_data":{"types":[]}}}`)
	if resp.AccountData != nil || len(resp.Rooms.Join) != 0 {
		t.Errorf("the filter is ignored: %+v", resp)
	}
}

// What an account has is more than memory holds, so it is read while it is sent.
func TestAllRoomsAreReadWhileTheyAreWritten(t *testing.T) {
	s := open(t)
	for range 30 {
		room := s.create()
		for i := range 8 {
			s.say(room, alice, fmt.Sprint(i, strings.Repeat("long ", 400)))
		}
	}
	var m store.Meter
	ctx := store.WithMeter(s.ctx, &m)
	resp, ready, err := s.timeline.Sync(ctx, viewer(alice), timeline.SyncRequest{})
	s.ok(err)
	if !ready {
		t.Error("an initial sync waits")
	}
	var began float64
	var body bytes.Buffer
	s.ok(resp.WriteJSON(ctx, writer(func(b []byte) (int, error) {
		if began == 0 {
			began = m.Total().Reads
		}
		return body.Write(b)
	})))
	if all := m.Total().Reads; began == 0 || began > all*2/3 {
		t.Errorf("%.0f of %.0f units were read before the first byte was sent", began, all)
	}
	var got timeline.SyncResponse
	s.ok(json.Unmarshal(body.Bytes(), &got))
	if len(got.Rooms.Join) != 30 {
		t.Errorf("there are %d rooms", len(got.Rooms.Join))
	}
	// Whoever cannot read on leaves nothing running.
	gone := errors.New("gone")
	resp, _, err = s.timeline.Sync(ctx, viewer(alice), timeline.SyncRequest{})
	s.ok(err)
	if err := resp.WriteJSON(ctx, writer(func([]byte) (int, error) { return 0, gone })); !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestSummaryOfALargeRoom(t *testing.T) {
	s := open(t)
	room := s.create()
	var first []string
	for i := range 40 {
		user := s.register(fmt.Sprintf("u%02d", i))
		if i == 7 {
			s.ok(s.rooms.Invite(s.ctx, room, invitation(user)))
		} else {
			s.ok(s.rooms.Join(s.ctx, user, room, ""))
		}
		if i < 5 {
			first = append(first, user)
		}
	}
	s.deliver(room)
	sum := s.sync(alice, "", "").Rooms.Join[room].Summary
	if sum.Joined != 40 || sum.Invited != 1 {
		t.Errorf("counts are %+v", sum)
	}
	s.same("heroes", sum.Heroes, first)
}
