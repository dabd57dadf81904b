package timeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
	"github.com/virga-im/virga/shared/wake"
)

// many is more than any room has.
const many = 1000

// hall is a room with many who listen, and what each of them was told.
type hall struct {
	*server
	clock *ahead
	hook  *hook
	room  string
	users []string
	since map[string]string
	heard map[string][]string
}

// openHall makes a room of bob and n more, with alice, which is not pulled yet.
// Carol is active, and outside.
func openHall(t *testing.T, n int) *hall {
	t.Helper()
	opt, h := local.NewMemory().Options(), &hall{clock: new(ahead), hook: new(hook), since: map[string]string{}, heard: map[string][]string{}}
	opt.Fault = h.hook.fault
	h.server = openWith(t, opt, h.clock)
	h.rooms.PullAbove = many
	h.room = h.create()
	h.users = []string{bob}
	for i := range n {
		h.users = append(h.users, h.register(fmt.Sprint("user", i)))
	}
	h.join(h.room, h.users...)
	for _, user := range append(h.users, carol) {
		h.listen(user)
		h.heard[user] = nil
	}
	return h
}

// listen lets a device of the user look, and keeps what it was told.
func (h *hall) listen(users ...string) {
	h.t.Helper()
	for _, user := range users {
		resp := h.sync(user, h.since[user], limit(100))
		h.since[user] = resp.NextBatch
		for _, r := range []*timeline.SyncRoom{resp.Rooms.Join[h.room], resp.Rooms.Leave[h.room]} {
			if r == nil {
				continue
			}
			for _, b := range h.bodies(r.Timeline.Events) {
				if strings.HasPrefix(b, "said") {
					h.heard[user] = append(h.heard[user], b)
				}
			}
		}
	}
}

// heardAll checks that the users were told each of the first n messages once.
func (h *hall) heardAll(n int, users ...string) {
	h.t.Helper()
	h.listen(users...)
	h.listen(users...)
	var want []string
	for i := range n {
		want = append(want, said(i))
	}
	for _, user := range users {
		h.same(user, h.heard[user], want)
	}
}

func said(i int) string { return fmt.Sprint("said ", i) }

// is checks how the members learn what happens.
func (h *hall) is(state timeline.FanState) {
	h.t.Helper()
	it, err := h.db.Get(h.ctx, store.Ref{Table: store.Server, Key: timeline.FanKey(h.room)}, store.Consistent)
	h.ok(err)
	if _, f, _ := timeline.FanOf(it); f.State != state {
		h.t.Fatalf("the room is in state %q, not %q", f.State, state)
	}
}

// looksAt reports whether the user's devices look at the room themselves.
func (h *hall) looksAt(user string) bool {
	h.t.Helper()
	head, err := h.log.Head(h.ctx, user)
	h.ok(err)
	return len(head.Pulled) == 1 && head.Pulled[0] == h.room
}

// counted is a waker that counts.
type counted struct {
	wake.Waker
	keys map[string]int
}

func (c counted) Wake(ctx context.Context, keys ...string) error {
	for _, k := range keys {
		c.keys[k]++
	}
	return c.Waker.Wake(ctx, keys...)
}

// However many are in a pulled room, a message writes nothing for them, and wakes
// once.
func TestAMessageInAPulledRoomCostsTheSameForMany(t *testing.T) {
	costs := map[int]store.Capacity{}
	for _, n := range []int{40, 80} {
		h := openHall(t, n)
		h.rooms.PullAbove = 5
		h.say(h.room, alice, said(0))
		h.is(timeline.StatePulled)
		h.say(h.room, alice, said(1)) // a process finds out once who has pushers
		h.listen(h.users...)
		woken := counted{h.log.Waker, map[string]int{}}
		h.log.Waker = woken
		_, err := h.rooms.Send(h.ctx, h.room, message(alice, said(2)))
		h.ok(err)
		delete(woken.keys, "user "+alice)
		var m store.Meter
		ctx := h.ctx
		h.ctx = store.WithMeter(ctx, &m)
		h.deliver(h.room)
		h.ctx = ctx
		if len(woken.keys) != 1 || woken.keys["room "+h.room] != 1 {
			t.Errorf("woken are %v", woken.keys)
		}
		costs[n] = m.Total()
		t.Logf("%d members: %s", n, m.Total())
		resp, ready, err := h.timeline.Sync(h.ctx, viewer(bob), timeline.SyncRequest{Since: h.since[bob]})
		h.ok(err)
		if keys := resp.WakeKeys(); !ready || len(keys) != 1 || keys[0] != "room "+h.room {
			t.Errorf("ready %t; a device waits for %v", ready, keys)
		}
		h.heardAll(3, h.users...)
	}
	if costs[40] != costs[80] || costs[40].Writes != 1 {
		t.Errorf("a message costs %v", costs)
	}
}

// What a look costs whoever is in pulled rooms.
func TestPulledRoomsBudget(t *testing.T) {
	h := openHall(t, 8)
	h.rooms.PullAbove = 5
	h.say(h.room, alice, said(0))
	h.listen(bob)
	h.listen(bob)
	var m store.Meter
	ctx := h.ctx
	h.ctx = store.WithMeter(ctx, &m)
	h.listen(bob)
	h.ctx = ctx
	t.Logf("idle, in one pulled room: %s", m.Total())
	if c := m.Total(); c.Reads > 3 || c.Writes > 0 {
		t.Errorf("an idle look costs %s", c)
	}
}

// While a room goes over to being pulled, before any of the store's calls, people
// look, speak, come and go: nobody misses anything, or hears it twice.
func TestGoingToPulledLosesNothing(t *testing.T) {
	for name, meanwhile := range map[string]func(h *hall){
		"bob looks":    func(h *hall) { h.listen(bob) },
		"alice speaks": func(h *hall) { h.say(h.room, alice, "said 1") },
		"carol joins": func(h *hall) {
			h.ok(h.rooms.Join(h.ctx, carol, h.room, ""))
			h.deliver(h.room)
			h.listen(carol)
		},
		"bob leaves and comes back": func(h *hall) {
			h.ok(h.rooms.Leave(h.ctx, bob, h.room, ""))
			h.ok(h.rooms.Join(h.ctx, bob, h.room, ""))
			h.deliver(h.room)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for at := int64(1); ; at++ {
				h := openHall(t, 7)
				h.rooms.PullAbove = 5
				_, err := h.rooms.Send(h.ctx, h.room, message(alice, said(0)))
				h.ok(err)
				h.hook.before(at, func() { meanwhile(h) })
				h.deliver(h.room)
				over := h.hook.over()
				if over {
					meanwhile(h)
				}
				h.is(timeline.StatePulled)
				n := 1
				if name == "alice speaks" {
					n = 2
				}
				h.say(h.room, alice, said(n))
				if name == "carol joins" {
					h.listen(carol) // history is shared, so her timeline begins before the join
					if got := h.heard[carol]; len(got) == 0 || got[len(got)-1] != said(n) {
						t.Errorf("carol heard %q", got)
					}
				}
				h.heardAll(n+1, h.users[1:]...)
				if name == "bob leaves and comes back" {
					h.listen(bob)
					if got := h.heard[bob]; len(got) == 0 || got[len(got)-1] != said(n) {
						t.Errorf("bob heard %q", got)
					}
				} else {
					h.heardAll(n+1, bob)
				}
				for _, user := range h.users {
					if !h.looksAt(user) {
						t.Errorf("%s does not look at the room", user)
					}
				}
				if t.Failed() {
					t.Fatalf("before call %d", at)
				}
				if over {
					t.Logf("before each of %d calls", at-1)
					return
				}
			}
		})
	}
}

// openFormer makes a room that was pulled and is not any more, at which bob's
// devices still look; the next look will find out.
func openFormer(t *testing.T) *hall {
	t.Helper()
	h := openHall(t, 7)
	h.rooms.PullAbove = 5
	h.say(h.room, alice, said(0))
	h.is(timeline.StatePulled)
	h.clock.pass(12 * time.Hour)
	h.listen(h.users...)
	h.clock.pass(13 * time.Hour)
	h.listen(h.users...)
	h.rooms.PullAbove = many
	h.say(h.room, alice, said(1))
	h.is(timeline.StatePushed)
	h.heardAll(2, h.users...)
	if !h.looksAt(bob) {
		t.Fatal("bob stopped looking at once")
	}
	h.clock.pass(2 * time.Hour)
	return h
}

func TestAFormerPulledRoomIsNotLookedAt(t *testing.T) {
	h := openFormer(t)
	h.listen(bob)
	if h.looksAt(bob) {
		t.Error("bob still looks at the room")
	}
	h.say(h.room, alice, said(2))
	h.heardAll(3, h.users...)
}

// Whoever left a pulled room stops looking at it.
func TestWhoLeftAPulledRoomDoesNotLookAtIt(t *testing.T) {
	h := openHall(t, 7)
	h.rooms.PullAbove = 5
	h.say(h.room, alice, said(0))
	h.ok(h.rooms.Leave(h.ctx, bob, h.room, ""))
	h.deliver(h.room)
	h.say(h.room, alice, said(1))
	h.clock.pass(2 * time.Hour)
	h.listen(bob)
	if h.looksAt(bob) {
		t.Error("bob still looks at the room")
	}
	h.same("bob", h.heard[bob], []string{said(0)})
}

// The room is pulled again while a device finds out that it is not: before each
// call of the one, all of the other happens, both ways.
func TestPullingAgainLosesNothing(t *testing.T) {
	again := func(h *hall) {
		h.rooms.PullAbove = 5
		h.say(h.room, alice, said(2))
	}
	look := func(h *hall) { h.listen(bob) }
	for name, way := range map[string][2]func(*hall){
		"pulled while bob looks": {look, again},
		"bob looks while pulled": {again, look},
	} {
		t.Run(name, func(t *testing.T) {
			for at := int64(1); ; at++ {
				h := openFormer(t)
				h.hook.before(at, func() { way[1](h) })
				way[0](h)
				over := h.hook.over()
				if over {
					way[1](h)
				}
				h.is(timeline.StatePulled)
				h.say(h.room, alice, said(3))
				h.heardAll(4, h.users...)
				if t.Failed() {
					t.Fatalf("before call %d", at)
				}
				if over {
					t.Logf("before each of %d calls", at-1)
					return
				}
			}
		})
	}
}

// A device may die after it has moved its cursor: the entry is repaired by the
// next look, also after others have written to the log.
func TestALookRepairsTheLogOfAPulledRoom(t *testing.T) {
	h := openHall(t, 7)
	h.rooms.PullAbove = 5
	h.say(h.room, alice, said(0))
	h.listen(bob)
	sent, err := h.rooms.Send(h.ctx, h.room, message(alice, said(1)))
	h.ok(err)
	h.deliver(h.room)
	c, err := h.log.Cursor(h.ctx, bob, h.room)
	h.ok(err)
	h.ok(h.accounts.SetAccountData(h.ctx, bob, "", "x.y", []byte(`{}`)))
	resp, err := h.log.After(h.ctx, bob, c.N, 0)
	h.ok(err)
	h.ok(claim(h, bob, c.To, sent.Pos, resp.Head.N))
	h.heardAll(2, bob)
}

// claim moves a cursor as a writer does that dies before it writes the entry.
func claim(h *hall, user string, from, to timeline.Pos, n int64) error {
	_, err := h.db.Write(h.ctx, store.Update(store.Users, userlog.CursorKey(user, h.room)).
		Set("f", int64(from)).Set("o", int64(to)).Set("n", n))
	return err
}
