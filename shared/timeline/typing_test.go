package timeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

func (s *server) typers(user, since, room string) (list []string, told bool, resp *timeline.SyncResponse) {
	s.t.Helper()
	resp = s.sync(user, since, "")
	r := resp.Rooms.Join[room]
	if r == nil || r.Ephemeral == nil {
		return nil, false, resp
	}
	var e struct {
		Content struct {
			UserIDs []string `json:"user_ids"`
		} `json:"content"`
	}
	s.ok(json.Unmarshal(r.Ephemeral.Events[0], &e))
	return e.Content.UserIDs, true, resp
}

// However many are in a room, typing costs a write for each of them once in a
// while, and one write for each change in between.
func TestTypingIsCoalesced(t *testing.T) {
	for _, n := range []int{5, 60} {
		h := openHall(t, n)
		woken := counted{h.log.Waker, map[string]int{}}
		h.log.Waker = woken
		set := func(user string, typing bool) store.Capacity {
			var m store.Meter
			s := *h.server
			s.ctx = store.WithMeter(h.ctx, &m)
			s.ok(s.timeline.SetTyping(s.ctx, user, h.room, typing, nil))
			return m.Total()
		}
		members := float64(len(h.users)) // alice has no device that looks
		first := set(bob, true)
		if first.Writes > members+2 {
			t.Errorf("%d members: to begin costs %s", n, first)
		}
		for range 20 {
			for _, c := range []store.Capacity{set(alice, true), set(alice, false)} {
				if c.Writes != 1 || c.Reads > 4 {
					t.Errorf("%d members: a change costs %s", n, c)
				}
			}
			if c := set(bob, true); c.Writes != 0 {
				t.Errorf("%d members: to say it again costs %s", n, c)
			}
		}
		if k := woken.keys["user "+bob]; k != 1 {
			t.Errorf("bob was woken %d times, and %d times for the room", k, woken.keys["room "+h.room])
		}
		for _, user := range h.users {
			list, _, resp := h.typers(user, h.since[user], h.room)
			h.same(user, list, []string{bob})
			if !slices.Contains(resp.WakeKeys(), "room "+h.room) || resp.LooksAgain().IsZero() {
				t.Errorf("%s waits for %v until %s", user, resp.WakeKeys(), resp.LooksAgain())
			}
		}
	}
}

// Whoever waits in a crowd waits for messages: they would come back for nothing.
func TestTypingInACrowdWakesNobody(t *testing.T) {
	h := openHall(t, 101)
	woken := counted{h.log.Waker, map[string]int{}}
	h.log.Waker = woken
	for _, typing := range []bool{true, false, true} {
		h.ok(h.timeline.SetTyping(h.ctx, bob, h.room, typing, nil))
	}
	if len(woken.keys) != 0 {
		t.Errorf("woken: %v", woken.keys)
	}
}

// A device learns that somebody stopped however late it comes, since it believes
// so until it is told.
func TestADeviceThatWasAwayLearnsThatNobodyTypes(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	s.sync(alice, "", "")
	s.ok(s.timeline.SetTyping(s.ctx, alice, room, true, nil))
	list, _, resp := s.typers(bob, since, room)
	s.same("while alice types", list, []string{alice})
	for _, away := range []time.Duration{time.Minute, time.Hour, dormancy} {
		clock.pass(away)
		list, told, later := s.typers(bob, resp.NextBatch, room)
		if !told || len(list) != 0 || list == nil {
			t.Errorf("after %s bob is told of %v (%t)", away, list, told)
		}
		if _, told, _ := s.typers(bob, later.NextBatch, room); told {
			t.Errorf("after %s bob is told twice", away)
		}
	}
}

// A token has space for typing in some rooms. The others are told of when there is
// space again.
func TestTypingInManyRooms(t *testing.T) {
	s := open(t)
	var all []string
	for range 12 {
		all = append(all, s.create())
		s.join(all[len(all)-1], bob)
	}
	since := s.sync(bob, "", "").NextBatch
	long := time.Duration(time.Hour) // bounded
	for _, room := range all {
		s.ok(s.timeline.SetTyping(s.ctx, alice, room, true, &long))
	}
	believed := map[string]bool{}
	look := func() {
		resp := s.sync(bob, since, "")
		since = resp.NextBatch
		for room, r := range resp.Rooms.Join {
			believed[room] = string(r.Ephemeral.Events[0]) != `{"type":"m.typing","content":{"user_ids":[]}}`
		}
		if len(since) > 600 {
			t.Errorf("a token has %d characters", len(since))
		}
	}
	look()
	if n := len(believed); n < 5 || n == len(all) {
		t.Errorf("bob is told of %d rooms at once", n)
	}
	for room := range believed {
		s.ok(s.timeline.SetTyping(s.ctx, alice, room, false, nil))
	}
	look()
	look()
	if len(believed) != len(all) {
		t.Errorf("bob was told of %d rooms", len(believed))
	}
	for _, room := range all {
		s.ok(s.timeline.SetTyping(s.ctx, alice, room, false, nil))
	}
	look()
	for room, b := range believed {
		if b {
			t.Error(fmt.Sprint("bob believes that alice types in ", room))
		}
	}
}

// A device that believes that somebody types learns that this is over, also if the
// user comes and goes while it asks.
func TestTypingEndsForWhoComesAndGoes(t *testing.T) {
	for n := int64(1); ; n++ {
		var h hook
		opt := local.NewMemory().Options()
		opt.Fault = h.fault
		s := openWith(t, opt, clock.System{})
		room := s.create()
		s.join(room, bob)
		s.sync(alice, "", "")
		since := s.sync(bob, "", "").NextBatch
		s.ok(s.timeline.SetTyping(s.ctx, alice, room, true, nil))
		list, _, resp := s.typers(bob, since, room)
		s.same("while alice types", list, []string{alice})
		believed := true
		look := func() {
			list, told, next := s.typers(bob, resp.NextBatch, room)
			if resp = next; told {
				believed = len(list) > 0
			}
			believed = believed && resp.Rooms.Leave[room] == nil
		}
		h.before(n, func() { s.ok(s.rooms.Leave(s.ctx, bob, room, "")) })
		look()
		if h.over() {
			return
		}
		s.join(room, bob)
		s.ok(s.timeline.SetTyping(s.ctx, alice, room, false, nil))
		look()
		look()
		if believed {
			t.Errorf("bob left before the call %d, and believes that alice types", n)
		}
	}
}

// The log tells of a room before anybody types in it, also if the user's join has
// not come to tell the log.
func TestTypingDoesNotMakeARoomJoined(t *testing.T) {
	opt := local.NewMemory().Options()
	ctx, cancel := context.WithCancel(t.Context())
	var dying atomic.Bool
	opt.Fault = func(c local.Call) local.Fault {
		if dying.Load() && c.Op == local.OpWrite && c.Refs[0].Table == store.Users {
			cancel()
			return local.Throttle
		}
		return local.NoFault
	}
	s := openWith(t, opt, clock.System{})
	room := s.create()
	s.ok(s.rooms.Invite(s.ctx, room, invitation(bob)))
	since := s.sync(bob, "", "").NextBatch
	dying.Store(true)
	if err := s.rooms.Join(grant.With(ctx, "test", grant.Of(rooms.Writes, grant.WriteTable("users")), nil), bob, room, ""); err == nil {
		t.Fatal("the join did not die")
	}
	dying.Store(false)
	s.ok(s.timeline.SetTyping(s.ctx, alice, room, true, nil))
	s.ok(s.log.Watch(s.ctx, bob, room, time.Now().Add(time.Minute)))
	if _, told, resp := s.typers(bob, since, room); told && resp.Rooms.Join[room].State == nil {
		t.Error("typing is told and not the room")
	}
}
