package timeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// tasks is the work queue. What is due is done when the test says so.
type tasks struct {
	clock clock.Clock
	mu    sync.Mutex
	list  []task
	sent  int
	// lose loses what is to be done at once, as a process does that dies after its
	// write.
	lose bool
}

type task struct {
	user string
	at   time.Time
}

// Send implements queue.Sender.
func (q *tasks) Send(_ context.Context, _ *queue.Queue, m queue.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var t struct{ Kind, User string }
	if err := json.Unmarshal([]byte(m.Body), &t); err != nil || t.Kind != timeline.TellPresenceTask {
		return fmt.Errorf("a task %s: %w", m.Body, err)
	}
	if q.sent++; !q.lose || m.Delay > 0 {
		q.list = append(q.list, task{t.User, q.clock.Now().Add(m.Delay)})
	}
	return nil
}

func (q *tasks) take() (due []task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var rest []task
	for _, t := range q.list {
		if t.at.After(q.clock.Now()) {
			rest = append(rest, t)
		} else {
			due = append(due, t)
		}
	}
	q.list = rest
	return due
}

// work does what is due.
func (s *server) work() {
	s.t.Helper()
	for _, t := range s.tasks.take() {
		s.ok(s.timeline.TellPresence(s.ctx, t.user))
	}
}

// looks lets a device sync, and returns its user's view of others.
func (s *server) looks(user, device, since, state string) (seen map[string]string, next string) {
	s.t.Helper()
	resp, _, err := s.timeline.Sync(s.ctx, timeline.Viewer{User: user, Device: device}, timeline.SyncRequest{
		Since: since, Presence: state, Timeout: 30 * time.Second,
	})
	s.ok(err)
	seen = map[string]string{}
	if resp.Presence == nil {
		return seen, resp.NextBatch
	}
	for _, raw := range resp.Presence.Events {
		var e struct {
			Sender  string
			Content timeline.PresenceContent
		}
		s.ok(json.Unmarshal(raw, &e))
		seen[e.Sender] = e.Content.Presence
		if active := e.Content.CurrentlyActive; (active != nil && *active) != (e.Content.Presence == "online") {
			s.t.Errorf("%s", raw)
		}
	}
	return seen, resp.NextBatch
}

func (s *server) presence(user string) string {
	s.t.Helper()
	p, err := s.timeline.Presence(s.ctx, user, user)
	s.ok(err)
	return p.Presence
}

func (s *server) sees(what string, seen map[string]string, user, want string) {
	s.t.Helper()
	if seen[user] != want {
		s.t.Errorf("%s: %s is %q, not %q", what, user, seen[user], want)
	}
}

// Whoever waits learns of what happens by the passing of time alone, and a little
// later also if a process dies after each write.
func TestWhoVanishesIsToldToBeOffline(t *testing.T) {
	for _, lose := range []bool{false, true} {
		clock := new(ahead)
		s := openWith(t, local.NewMemory().Options(), clock)
		s.tasks.lose = lose
		s.join(s.create(), bob)
		_, since := s.looks(bob, "D", "", "offline")
		hers, told := "", ""
		pass := func(d time.Duration, there bool, want string) {
			t.Helper()
			for range d / (30 * time.Second) {
				if there {
					_, hers = s.looks(alice, "D", hers, "online")
				}
				s.work()
				var seen map[string]string
				if seen, since = s.looks(bob, "D", since, "offline"); seen[alice] != "" {
					told = seen[alice]
				}
				clock.pass(30 * time.Second)
			}
			if told != want {
				t.Errorf("lose %t: bob is told that alice is %q, and she is %q", lose, told, want)
			}
		}
		pass(3*time.Minute, true, "online")
		pass(7*time.Minute, true, "unavailable") // she does nothing
		s.timeline.Acted(s.ctx, alice, "D")
		pass(3*time.Minute, true, "online")
		if p := s.presence(alice); p != "online" {
			t.Errorf("she is %s when she is to sync again", p)
		}
		pass(4*time.Minute, false, "offline")
		pass(time.Hour, false, "offline")
		if n := len(s.tasks.take()); n > 0 {
			t.Errorf("lose %t: an hour later %d tasks are left", lose, n)
		}
	}
}

// A user who is there costs a write and a task in a minute, however many devices
// sync, and what they read for it is nothing.
func TestToBeThereCostsAWriteAMinute(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	devices := []string{"A", "B", "C"}
	since := map[string]string{}
	for _, d := range devices {
		_, since[d] = s.looks(alice, d, "", "online")
	}
	s.work()
	for _, d := range devices {
		_, since[d] = s.looks(alice, d, since[d], "online")
	}
	sent := s.tasks.sent
	var m store.Meter
	metered := *s
	metered.ctx = store.WithMeter(s.ctx, &m)
	const looks = 40 // 20 minutes, less than the user's activity is renewed after
	for range looks {
		clock.pass(30 * time.Second)
		s.work()
		for _, d := range devices {
			_, since[d] = metered.looks(alice, d, since[d], "online")
		}
	}
	// Each device is told once that she is idle, which it reads.
	if c := m.Total(); c.Writes > looks/2 || c.Reads > float64(looks*len(devices)+len(devices)) {
		t.Errorf("20 minutes cost %s", c)
	}
	if n := s.tasks.sent - sent; n > looks/2 {
		t.Errorf("20 minutes sent %d tasks", n)
	}
	if p := s.presence(alice); p != "unavailable" {
		t.Errorf("without doing anything for 20 minutes she is %s", p)
	}
	m = store.Meter{}
	for range 20 {
		s.timeline.Acted(metered.ctx, alice, "A")
	}
	if c := m.Total(); c.Writes > 1 || c.Reads > 1 {
		t.Errorf("20 messages cost %s", c)
	}
}

// Where it is turned off it costs nothing, and everybody is offline.
func TestPresenceThatIsTurnedOff(t *testing.T) {
	s := open(t)
	s.join(s.create(), bob)
	off := *s
	off.timeline = timeline.New(timeline.Options{DB: s.db, Clock: clock.System{}, Log: s.log, Accounts: s.accounts, ServerName: "test"})
	off.sync(alice, "", "")
	var m store.Meter
	off.ctx = store.WithMeter(s.ctx, &m)
	off.ok(off.timeline.SetPresence(off.ctx, viewer(alice), "online", "here"))
	off.timeline.Acted(off.ctx, alice, "D")
	if p, err := off.timeline.Presence(off.ctx, bob, alice); err != nil || p.Presence != "offline" {
		t.Errorf("she is %+v, %v", p, err)
	}
	if c := m.Total(); c.Reads+c.Writes > 0 {
		t.Errorf("it costs %s", c)
	}
	seen, _ := off.looks(alice, "D", "", "online")
	if c := m.Total(); c.Writes > 0 || len(seen) > 0 {
		t.Errorf("a look costs %s and tells %v", c, seen)
	}
}

// Each device speaks for itself, and the user is what the most present one says.
func TestTheMostPresentDeviceCounts(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	desk, phone := timeline.Viewer{User: alice, Device: "DESK"}, timeline.Viewer{User: alice, Device: "PHONE"}
	set := func(v timeline.Viewer, state, want string) {
		t.Helper()
		s.ok(s.timeline.SetPresence(s.ctx, v, state, ""))
		if p := s.presence(alice); p != want {
			t.Errorf("%s says %s: %s", v.Device, state, p)
		}
	}
	set(desk, "online", "online")
	set(phone, "unavailable", "online")
	set(desk, "offline", "unavailable")
	set(phone, "offline", "offline")
	set(phone, "unavailable", "unavailable")
	s.looks(alice, "DESK", "", "online") // somebody came to the desk
	if p := s.presence(alice); p != "online" {
		t.Errorf("she is %s", p)
	}
	s.looks(alice, "DESK", "", "unavailable")
	if p := s.presence(alice); p != "unavailable" {
		t.Errorf("she is %s", p)
	}
	s.timeline.Acted(s.ctx, alice, "WATCH") // which does not sync
	if p := s.presence(alice); p != "online" {
		t.Errorf("she is %s", p)
	}
	clock.pass(10 * time.Minute)
	s.timeline.Acted(s.ctx, alice, "WATCH")
	if p := s.presence(alice); p != "offline" {
		t.Errorf("she is %s without a device that is there", p)
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			v := timeline.Viewer{User: bob, Device: fmt.Sprint(i)}
			if err := s.timeline.SetPresence(s.ctx, v, []string{"online", "offline"}[i%2], ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p := s.presence(bob); p != "online" {
		t.Errorf("with three devices online bob is %s", p)
	}
}

// In a large room nobody is told, and those who are in a small one too are told by
// that.
func TestPresenceIsForSmallRooms(t *testing.T) {
	h := openHall(t, 55)
	h.ok(h.timeline.SetPresence(h.ctx, viewer(alice), "online", ""))
	h.work()
	seen, since := h.looks(bob, "D", h.since[bob], "offline")
	h.sees("in the hall", seen, alice, "")
	seen, _ = h.looks(bob, "NEW", "", "offline")
	h.sees("in the hall, anew", seen, alice, "")
	if p, err := h.timeline.Presence(h.ctx, bob, alice); err != nil || p.Presence != "online" {
		t.Errorf("when asked: %+v, %v", p, err)
	}
	room := h.create()
	h.join(room, bob)
	seen, since = h.looks(bob, "D", since, "offline")
	h.sees("when they meet", seen, alice, "online")
	h.ok(h.timeline.SetPresence(h.ctx, viewer(alice), "unavailable", ""))
	h.work()
	seen, _ = h.looks(bob, "D", since, "offline")
	h.sees("in the small room", seen, alice, "unavailable")
}

// Who waits is woken, and nobody else is.
func TestPresenceWakesWhoWaits(t *testing.T) {
	s := open(t)
	s.join(s.create(), bob)
	for _, user := range []string{alice, bob, carol} {
		s.sync(user, "", "")
	}
	woken := counted{s.log.Waker, map[string]int{}}
	s.log.Waker = woken
	s.ok(s.timeline.SetPresence(s.ctx, viewer(alice), "online", ""))
	s.work()
	s.ok(s.timeline.SetPresence(s.ctx, viewer(alice), "online", "")) // nothing new
	s.work()
	if want := map[string]int{"user " + alice: 1, "user " + bob: 1}; !maps.Equal(woken.keys, want) {
		t.Errorf("woken were %v", woken.keys)
	}
}

// Whoever was away for long is told how it is now.
func TestWhoWakesIsToldWhoIsThere(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	s.join(s.create(), bob, carol)
	s.looks(alice, "D", "", "online")
	s.work()
	seen, since := s.looks(bob, "D", "", "offline")
	s.sees("at first", seen, alice, "online")
	clock.pass(dormancy)
	s.work()
	s.looks(carol, "D", "", "online")
	s.work()
	seen, since = s.looks(bob, "D", since, "offline")
	s.sees("when he wakes", seen, alice, "offline")
	s.sees("when he wakes", seen, carol, "online")
	if seen, _ = s.looks(bob, "D", since, "offline"); len(seen) > 0 {
		t.Errorf("and then %v", seen)
	}
}

// Nobody makes others pay by changing their mind.
func TestToldSoOftenAndNoMore(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	s.join(s.create(), bob)
	s.sync(bob, "", "")
	log := func() int64 {
		h, err := s.log.Head(s.ctx, bob)
		s.ok(err)
		return h.N
	}
	before := log()
	for i := range 600 {
		s.ok(s.timeline.SetPresence(s.ctx, viewer(alice), "online", fmt.Sprint(i)))
		s.work()
		clock.pass(time.Second)
	}
	if n := log() - before; n < 20 || n > 45 {
		t.Errorf("in ten minutes bob was told %d times", n)
	}
	clock.pass(time.Minute)
	s.work()
	resp := s.sync(bob, "", "")
	if resp.Presence == nil || len(resp.Presence.Events) != 1 {
		t.Fatalf("presence is %v", resp.Presence)
	}
	if e := string(resp.Presence.Events[0]); !containsStatus(e, "599") {
		t.Errorf("the last is %s", e)
	}
}

func containsStatus(event, status string) bool {
	var e struct{ Content timeline.PresenceContent }
	return json.Unmarshal([]byte(event), &e) == nil && e.Content.StatusMsg == status
}
