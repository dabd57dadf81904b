package timeline_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// ahead is the machine's clock, moved on by the test. Waits take their time.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time                         { return time.Now().UTC().Add(time.Duration(a.by.Load())) }
func (a *ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (a *ahead) pass(d time.Duration)                   { a.by.Add(int64(d)) }

// dormancy is surely longer than a user stays active.
const dormancy = userlog.ActiveFor + 2*time.Hour

// hook is a fault that lets something else happen just before a call.
type hook struct {
	mu   sync.Mutex
	left int64 // calls until then
	do   func()
}

// before lets do happen before the nth call from now on, counted from 1.
func (h *hook) before(n int64, do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left, h.do = n, do
}

// over ends the wait for a call, and reports whether it is one in vain.
func (h *hook) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	waited := h.do != nil
	h.do = nil
	return waited
}

func (h *hook) fault(local.Call) local.Fault {
	h.mu.Lock()
	do := h.do
	if h.left--; h.left != 0 || do == nil {
		h.mu.Unlock()
		return local.NoFault
	}
	h.do = nil
	h.mu.Unlock()
	do()
	return local.NoFault
}

func TestNothingIsWrittenForTheDormant(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	room := s.create()
	s.join(room, bob, carol)
	since := map[string]string{bob: s.sync(bob, "", "").NextBatch, carol: s.sync(carol, "", "").NextBatch}
	clock.pass(dormancy - time.Minute)
	since[carol] = s.sync(carol, since[carol], "").NextBatch
	clock.pass(2 * time.Minute)
	end := func(user string) int64 {
		h, err := s.log.Head(s.ctx, user)
		s.ok(err)
		return h.N
	}
	before := end(bob)
	s.say(room, alice, "one", "two")
	if n := end(bob); n != before {
		t.Errorf("the log of a dormant user grew from %d to %d", before, n)
	}
	for _, user := range []string{bob, carol} {
		resp := s.sync(user, since[user], "")
		s.same(user, s.bodies(resp.Rooms.Join[room].Timeline.Events), []string{"one", "two"})
		if again := s.sync(user, resp.NextBatch, ""); len(again.Rooms.Join) != 0 {
			t.Errorf("%s is told again: %+v", user, again.Rooms.Join[room])
		}
	}
	s.say(room, alice, "three")
	if n := end(bob); n != before+2 {
		t.Errorf("the log of a user who woke ends at %d, not %d", n, before+2)
	}
}

// What is done to a dormant user, and what the user does, is in the log at once.
func TestTheDormantAreToldOfTheirMemberships(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	room, other := s.create(), s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	clock.pass(dormancy)
	s.ok(s.rooms.Invite(s.ctx, other, invitation(bob)))
	s.deliver(other)
	s.ok(s.rooms.Kick(s.ctx, room, invitation(bob)))
	s.deliver(room)
	h, err := s.log.Head(s.ctx, bob)
	s.ok(err)
	page, err := s.log.After(s.ctx, bob, 0, 0)
	s.ok(err)
	var told []string
	for _, e := range page.Entries[h.N-2:] {
		told = append(told, e.Room)
	}
	s.same("the last entries", told, []string{other, room})
	resp := s.sync(bob, since, "")
	if resp.Rooms.Invite[other] == nil || resp.Rooms.Leave[room] == nil {
		t.Errorf("rooms are %+v", resp.Rooms)
	}
}

// A device looks again and again; that the user is active is written once an
// hour.
func TestActivityIsWrittenOnceAnHour(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	s.create()
	since := s.sync(alice, "", "").NextBatch
	var m store.Meter
	ctx := s.ctx
	s.ctx = store.WithMeter(ctx, &m)
	for range 10 * 60 {
		clock.pass(time.Minute)
		s.sync(alice, since, "")
	}
	s.ctx = ctx
	if w := m.Total().Writes; w > 10 || w == 0 {
		t.Errorf("%v units were written in ten hours", w)
	}
}

// woken is what a user who was dormant gets, over the syncs before, while and
// after something else happened: every message once.
func (s *server) woken(room, since string, meanwhile ...[]string) {
	s.t.Helper()
	var got []string
	for _, bodies := range meanwhile {
		got = append(got, bodies...)
	}
	resp := s.sync(bob, since, "")
	if r := resp.Rooms.Join[room]; r != nil {
		got = append(got, s.bodies(r.Timeline.Events)...)
	}
	s.same("over all", got, []string{"one", "two"})
}

// A user wakes before any of the store's calls of a fan-out, which may have read
// that the user is dormant.
func TestWakingAtAnyStepOfAFanOutLosesNothing(t *testing.T) {
	for at := int64(1); ; at++ {
		opt, clock, h := local.NewMemory().Options(), new(ahead), new(hook)
		opt.Fault = h.fault
		s := openWith(t, opt, clock)
		room := s.create()
		s.join(room, bob)
		since := s.sync(bob, "", "").NextBatch
		clock.pass(dormancy)
		s.say(room, alice, "one")
		_, err := s.rooms.Send(s.ctx, room, message(alice, "two"))
		s.ok(err)
		var first []string
		h.before(at, func() {
			resp := s.sync(bob, since, "")
			if r := resp.Rooms.Join[room]; r != nil {
				first = s.bodies(r.Timeline.Events)
			}
			since = resp.NextBatch
		})
		s.deliver(room)
		over := h.over()
		s.woken(room, since, first)
		if t.Failed() {
			t.Fatalf("woken before call %d", at)
		}
		if over {
			t.Logf("woken before each of %d calls", at-1)
			return
		}
	}
}

// A message is sent and fanned out before any of the store's calls of the sync
// that wakes its reader.
func TestAFanOutAtAnyStepOfWakingLosesNothing(t *testing.T) {
	for at := int64(1); ; at++ {
		opt, clock, h := local.NewMemory().Options(), new(ahead), new(hook)
		opt.Fault = h.fault
		s := openWith(t, opt, clock)
		room := s.create()
		s.join(room, bob)
		since := s.sync(bob, "", "").NextBatch
		clock.pass(dormancy)
		s.say(room, alice, "one")
		h.before(at, func() { s.say(room, alice, "two") })
		resp := s.sync(bob, since, "")
		over := h.over()
		if over {
			s.say(room, alice, "two")
		}
		var first []string
		if r := resp.Rooms.Join[room]; r != nil {
			first = s.bodies(r.Timeline.Events)
		}
		s.woken(room, resp.NextBatch, first)
		if t.Failed() {
			t.Fatalf("sent before call %d", at)
		}
		if over {
			t.Logf("sent before each of %d calls", at-1)
			return
		}
	}
}

// A device whose clock is behind believes that its user is active while that of
// the fan-out says otherwise.
func TestClocksMayDiffer(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	clock.pass(userlog.ActiveFor + 50*time.Minute)
	s.say(room, alice, "one") // by the clock of the fan-out
	clock.pass(-51 * time.Minute)
	resp := s.sync(bob, since, "")
	if r := resp.Rooms.Join[room]; r == nil {
		t.Error("what was said between two clocks is lost")
	}
}

// The cursor of a user tells of an entry that its writer did not live to write,
// and the user is dormant before anybody repairs it.
func TestWakingRepairsTheLog(t *testing.T) {
	disk, clock := local.NewMemory(), new(ahead)
	s := openWith(t, disk.Options(), clock)
	room := s.create()
	s.join(room, bob)
	since := s.sync(bob, "", "").NextBatch
	sent, err := s.rooms.Send(s.ctx, room, message(alice, "one"))
	s.ok(err)
	c, err := s.log.Cursor(s.ctx, bob, room)
	s.ok(err)
	_, err = s.db.Write(s.ctx, store.Update(store.Users, userlog.CursorKey(bob, room)).
		Set("f", int64(c.To)).Set("o", int64(sent.Pos)).Set("n", c.N+1))
	s.ok(err)
	clock.pass(dormancy)
	s.deliver(room)
	resp := s.sync(bob, since, "")
	if r := resp.Rooms.Join[room]; r == nil || !slices.Equal(s.bodies(r.Timeline.Events), []string{"one"}) {
		t.Errorf("the repaired log tells %+v", r)
	}
}

// Who is dormant costs a fan-out a read, and no write.
func TestFanOutCostsWhatIsActive(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	room := s.create()
	for i := range 30 {
		s.join(room, s.register(fmt.Sprint("user", i)))
	}
	clock.pass(dormancy)
	for i := range 5 {
		s.sync(fmt.Sprintf("@user%d:test", i), "", "")
	}
	for _, warm := range []bool{false, true} {
		_, err := s.rooms.Send(s.ctx, room, message(alice, "hello"))
		s.ok(err)
		var m store.Meter
		ctx := s.ctx
		s.ctx = store.WithMeter(ctx, &m)
		s.deliver(room)
		s.ctx = ctx
		t.Logf("30 members of whom 5 are active, warm %t: %s", warm, m.Total())
		if w := m.Total().Writes; w != 5*2+1 { // and the place of the fan-out
			t.Errorf("%v units were written", w)
		}
	}
}
