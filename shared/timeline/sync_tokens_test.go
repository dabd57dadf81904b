package timeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// expire deletes entries of a log, as their time to live does.
func (s *server) expire(user string, upTo int64) {
	s.t.Helper()
	page, err := s.log.After(s.ctx, user, 0, 0)
	s.ok(err)
	for _, e := range page.Entries {
		if e.N <= upTo {
			_, err := s.db.Write(s.ctx, store.Delete(store.Users, store.Key{Part: userlog.Part(user), Sort: fmt.Sprintf("L#%016x", e.N)}))
			s.ok(err)
		}
	}
}

func TestTokenOlderThanTheLogStartsRoomsAnew(t *testing.T) {
	s := open(t)
	room, other := s.create(), s.create()
	s.join(room, bob)
	s.join(other, bob)
	forgotten := s.create()
	s.join(forgotten, bob)
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.rooms.Leave(s.ctx, bob, other, ""))
	s.ok(s.rooms.Leave(s.ctx, bob, forgotten, ""))
	s.ok(s.rooms.Forget(s.ctx, bob, forgotten))
	s.set(room, alice, "m.room.topic", "", `{"topic":"t"}`)
	s.say(room, alice, "one", "two")
	h, err := s.log.Head(s.ctx, bob)
	s.ok(err)
	s.expire(bob, h.N-1)
	resp := s.sync(bob, since, limit(1))
	r := resp.Rooms.Join[room]
	if r == nil || !r.Timeline.Limited || len(r.State.Events) != len(s.head(room)) {
		t.Fatalf("room is %+v", r)
	}
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"two"})
	if resp.Rooms.Leave[other] == nil || resp.Rooms.Leave[forgotten] == nil {
		t.Error("the client does not learn that the user left")
	}
	if next := s.sync(bob, resp.NextBatch, ""); len(next.Rooms.Join) != 0 {
		t.Errorf("it begins again: %+v", next.Rooms)
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	s := open(t)
	since := s.sync(alice, "", "").NextBatch
	for _, req := range []timeline.SyncRequest{{Since: since}, {Since: "s72594_4483_1934"}, {Since: "t1AAAAAIAAAAA"}, {Filter: "nofilter"}} {
		_, _, err := s.timeline.Sync(s.ctx, viewer(bob), req)
		s.refused(err, "M_INVALID_PARAM")
	}
}

func TestIdleSyncIsNotReady(t *testing.T) {
	s := open(t)
	room := s.create()
	since := s.sync(alice, "", "").NextBatch
	look := func(req timeline.SyncRequest) bool {
		_, ready, err := s.timeline.Sync(s.ctx, viewer(alice), req)
		s.ok(err)
		return ready
	}
	if look(timeline.SyncRequest{Since: since}) {
		t.Error("there is nothing, and it is ready")
	}
	if !look(timeline.SyncRequest{}) || !look(timeline.SyncRequest{Since: since, FullState: true}) {
		t.Error("an initial sync and a full state do not wait")
	}
	s.say(room, alice, "hello")
	if !look(timeline.SyncRequest{Since: since}) {
		t.Error("there is a message, and it is not ready")
	}
	if look(timeline.SyncRequest{Since: since, Filter: `{"room":{"timeline":{"types":[]}}}`}) {
		t.Error("the filter wants nothing of it, and it is ready")
	}
}

// TestInitialSyncsAmongWritersLoseNothing lets initial syncs race with messages:
// what an initial sync has not, the next one has.
func TestInitialSyncsAmongWritersLoseNothing(t *testing.T) {
	s := open(t)
	list := []string{s.create(), s.create(), s.create()}
	for _, room := range list {
		s.join(room, bob)
	}
	const each = 30
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	for _, room := range list {
		wg.Go(func() {
			for i := range each {
				_, err := s.rooms.Send(ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: json.RawMessage(fmt.Sprintf(`{"body":"%d"}`, i))})
				if err == nil {
					err = s.rooms.Dispatch(ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	go func() { wg.Wait(); cancel() }()
	first := map[string]*timeline.SyncResponse{}
	for ctx.Err() == nil {
		resp := s.sync(bob, "", limit(200))
		first[resp.NextBatch] = resp
	}
	wg.Wait()
	for since, resp := range first {
		next := s.sync(bob, since, limit(200))
		for _, room := range list {
			got := s.bodies(resp.Rooms.Join[room].Timeline.Events)
			if r := next.Rooms.Join[room]; r != nil {
				got = append(got, s.bodies(r.Timeline.Events)...)
			}
			var want []string
			for i := range each {
				want = append(want, fmt.Sprint(i))
			}
			if n := len(got) - each; n < 0 || !slices.Equal(got[n:], want) {
				t.Fatalf("from %s: %q", since, got)
			}
		}
	}
}

// TestSyncBudget holds the reads of /sync without authentication, which is one
// more, against data-model.md.
func TestSyncBudget(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	filter, err := s.timeline.DefineFilter(s.ctx, bob, json.RawMessage(`{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":20}}}`))
	s.ok(err)
	var since string
	measure := func(what string, budget float64) {
		t.Helper()
		var m store.Meter
		ctx := store.WithMeter(s.ctx, &m)
		resp, _, err := s.timeline.Sync(ctx, viewer(bob), timeline.SyncRequest{
			Since: since, Filter: filter, Presence: timeline.Online, Timeout: 30 * time.Second,
		})
		s.ok(err)
		s.ok(resp.WriteJSON(ctx, io.Discard))
		t.Logf("%s: %s", what, m.Total())
		if m.Total().Reads > budget || m.Total().Writes > 0 {
			t.Errorf("%s: %s is more than %.1f RU", what, m.Total(), budget)
		}
	}
	// It wakes the user, which is once in a long time, and says that the user is
	// online, which is once in a minute.
	s.syncs(bob, timeline.SyncRequest{Filter: filter, Presence: timeline.Online, Timeout: 30 * time.Second})
	measure("initial, one room", 40)
	since = s.sync(bob, "", filter).NextBatch
	measure("idle", 1)
	s.say(room, alice, "hello")
	measure("one message", 7) // one of them for receipts
	s.set(room, alice, "m.room.topic", "", `{"topic":"t"}`)
	measure("a message and a topic", 8)
}

func TestIgnoredUsersAreNotHeard(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.ok(s.accounts.SetAccountData(s.ctx, bob, "", "m.ignored_user_list", json.RawMessage(`{"ignored_users":{"@alice:test":{}}}`)))
	s.say(room, alice, "noise")
	s.set(room, alice, "m.room.topic", "", `{"topic":"state"}`)
	s.say(room, bob, "mine")
	other := s.create()
	s.ok(s.rooms.Invite(s.ctx, other, rooms.Membership{Sender: alice, Target: bob}))
	resp := s.sync(bob, since, "")
	s.same("timeline", s.bodies(resp.Rooms.Join[room].Timeline.Events), []string{"m.room.topic", "mine"})
	if len(resp.Rooms.Invite) > 0 {
		t.Error("an invite of an ignored user is there")
	}
	if got := s.history(bob, room); slices.Contains(got, "noise") {
		t.Errorf("history is %q", got)
	}
}

// append puts a copy of a message at a position of its own choice, as a server
// does that received it.
func (s *server) append(room, like string, p timeline.Pos, body string) {
	s.t.Helper()
	rows, err := s.timeline.EventsByID(s.ctx, room, []string{like})
	s.ok(err)
	row := *rows[like]
	row.ID, row.JSON = "$"+body, []byte(strings.Replace(string(row.JSON), "template", body, 1))
	_, err = s.db.Write(s.ctx, store.Put(store.Rooms, timeline.EventKey(room, p), store.Encode(row)))
	s.ok(err)
}

func TestTimelineEndsAtAGap(t *testing.T) {
	s := open(t)
	room := s.create()
	like := s.say(room, alice, "template")
	since := s.sync(alice, "", "").NextBatch
	segment := timeline.Pos(1 << 32)
	s.append(room, like, segment+1<<31-1, "backfilled 2")
	s.append(room, like, segment+1<<31-2, "backfilled 1")
	s.append(room, like, segment+1<<31+1, "live 1")
	s.append(room, like, segment+1<<31+2, "live 2")
	s.ok(s.log.Moved(s.ctx, alice, room, segment+1<<31+2, nil))
	r := s.sync(alice, since, "").Rooms.Join[room]
	s.same("timeline", s.bodies(r.Timeline.Events), []string{"live 1", "live 2"})
	if !r.Timeline.Limited || len(r.State.Events) != 0 {
		t.Errorf("limited is %t, state is %q", r.Timeline.Limited, s.bodies(r.State.Events))
	}
	back, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: r.Timeline.PrevBatch, Limit: 3}, "")
	s.ok(err)
	s.same("before the gap", s.bodies(back.Chunk), []string{"backfilled 2", "backfilled 1", "template"})
}
