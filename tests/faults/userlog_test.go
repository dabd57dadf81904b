package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

const owner = "@alice:test"

// model is one user's log, written by many and read by many, on a disk that
// crashes. What it knows of the rooms is what their HEADs would say.
type model struct {
	t     *testing.T
	r     *rand.Rand // of the goroutine of the test
	ctx   context.Context
	clock *ahead
	disk  *local.Memory
	store *local.Local
	log   *userlog.Service

	heads   [5]atomic.Uint64 // positions of the rooms
	highest atomic.Int64     // number that an append has returned
	told    atomic.Int64     // positions that readers were told of, to see that they were
	gaps    atomic.Int64
}

func roomName(i int) string { return fmt.Sprintf("!%d:test", i) }

func (m *model) open(fault func(local.Call) local.Fault) {
	m.t.Helper()
	opt := m.disk.Options()
	opt.Clock, opt.Fault = m.clock, fault
	l, err := local.Open(opt)
	if err != nil {
		m.t.Fatal(err)
	}
	m.store = l
	m.log = &userlog.Service{DB: l.DB(), Clock: m.clock, Waker: l.Wake()}
}

func (m *model) crash() {
	m.t.Helper()
	m.store.Kill()
	if err := m.store.Close(); err != nil {
		m.t.Error(err)
	}
	m.disk = m.disk.Crash()
}

// passing reports whether an error is one of the weather, after which whoever
// wrote tries again some time.
func passing(err error) bool {
	return errors.Is(err, local.ErrKilled) || errors.Is(err, store.ErrThrottled) || errors.Is(err, store.ErrConflict)
}

// write does a few things as writers do: moves a room on and tells of it, tells
// again of what may have been told, appends what is of no room.
func (m *model) write(r *rand.Rand) error {
	for range 25 {
		i := r.IntN(len(m.heads))
		var err error
		switch r.IntN(6) {
		case 0:
			before := m.highest.Load()
			var n int64
			n, err = m.log.Append(m.ctx, owner, userlog.Entry{Kind: userlog.KindAccountData, Type: "x"})
			if err != nil {
				break
			}
			if n <= before {
				return fmt.Errorf("an append took the number %d after another took %d", n, before)
			}
			for {
				was := m.highest.Load()
				if was >= n || m.highest.CompareAndSwap(was, n) {
					break
				}
			}
		case 1: // a repeated or late fan-out
			if head := m.heads[i].Load(); head > 0 {
				err = m.log.Moved(m.ctx, owner, roomName(i), userlog.Pos(1+r.Uint64N(head)), nil)
			}
		default:
			err = m.log.Moved(m.ctx, owner, roomName(i), userlog.Pos(m.heads[i].Add(1+r.Uint64N(3))), nil)
		}
		if errors.Is(err, local.ErrKilled) {
			return nil
		}
		if err != nil && !passing(err) {
			return err
		}
	}
	return nil
}

// reader is a device: a token, and what it was told of each room.
type reader struct {
	m     *model
	token int64
	at    map[string]userlog.Pos
}

// begin is an initial sync: the end of the log, and the rooms as the log tells
// of them up to there (see timeline's snapshot).
func (d *reader) begin() error {
	h, err := d.m.log.Head(d.m.ctx, owner)
	if err != nil {
		return err
	}
	return d.rebuild(h.N)
}

func (d *reader) rebuild(n int64) error {
	cursors, err := d.m.log.Cursors(d.m.ctx, owner)
	if err != nil {
		return err
	}
	page, err := d.m.log.After(d.m.ctx, owner, n, 0)
	if err != nil {
		return err
	}
	begins := map[string]userlog.Pos{}
	for _, e := range page.Entries {
		if _, ok := begins[e.Room]; !ok && e.Kind == userlog.KindRoom {
			begins[e.Room] = e.From
		}
	}
	at := map[string]userlog.Pos{}
	for _, c := range cursors {
		at[c.Room] = c.From
		if p, ok := begins[c.Room]; ok {
			at[c.Room] = p
		} else if c.N <= n {
			at[c.Room] = c.To
			own, err := d.m.log.After(d.m.ctx, owner, c.N-1, 1)
			if err != nil {
				return err
			}
			for _, e := range own.Entries {
				if e.N == c.N && (e.Room != c.Room || e.To != c.To) {
					at[c.Room] = c.From
				}
			}
		}
	}
	d.token, d.at = n, at
	return nil
}

// read is an incremental sync.
func (d *reader) read() error {
	page, err := d.m.log.After(d.m.ctx, owner, d.token, 0)
	if err != nil {
		return err
	}
	if page.Head.N < d.token {
		return fmt.Errorf("the token goes from %d back to %d", d.token, page.Head.N)
	}
	if page.Gap {
		d.m.gaps.Add(1)
		return d.rebuild(page.Head.N)
	}
	at := map[string]userlog.Pos{}
	for room, p := range d.at {
		at[room] = p
	}
	for _, e := range page.Entries {
		if e.Kind != userlog.KindRoom {
			continue
		}
		if e.From != at[e.Room] || e.To <= e.From {
			return fmt.Errorf("entry %d after the token %d tells (%d, %d] of %s, and up to %d was told", e.N, d.token, e.From, e.To, e.Room, at[e.Room])
		}
		d.m.told.Add(int64(e.To - e.From))
		at[e.Room] = e.To
	}
	d.token, d.at = page.Head.N, at
	return nil
}

// expire lets everything expire, and deletes a part of it in no order, as a
// store may.
func (m *model) expire() {
	m.t.Helper()
	m.clock.pass(userlog.Retention + time.Duration(m.r.IntN(3)-1)*time.Minute)
	ctx := everything(m.t.Context())
	part := m.r.IntN(3) // none, some or all
	for it, err := range store.All(ctx, m.store.DB(), store.Query{Table: store.Users, Part: userlog.Part(owner), From: "L#", To: "L#g", Consistency: store.Consistent}) {
		if err != nil {
			m.t.Fatal(err)
		}
		if part == 2 || part == 1 && m.r.IntN(2) == 0 {
			if _, err := m.store.DB().Write(ctx, store.Delete(store.Users, it.Key)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// TestALogTellsEachPositionOnce lets several writers and readers loose on one
// log, with kills, busy stores and expiry: from whatever token, each position of
// each room is told once, and none is missing in the end.
func TestALogTellsEachPositionOnce(t *testing.T) {
	var told, gaps, kills int64
	t.Run("seed", func(t *testing.T) {
		for seed := range seeds(10) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				m := &model{t: t, r: seeded(t, seed), ctx: everything(t.Context()), clock: new(ahead), disk: local.NewMemory()}
				k := m.run()
				atomic.AddInt64(&told, m.told.Load())
				atomic.AddInt64(&gaps, m.gaps.Load())
				atomic.AddInt64(&kills, k)
			})
		}
	})
	t.Logf("%d positions told, %d gaps, %d kills", told, gaps, kills)
}

func (m *model) run() (kills int64) {
	devices := make([]*reader, 4)
	for i := range devices {
		devices[i] = &reader{m: m, at: map[string]userlog.Pos{}}
	}
	expired := false
	for round := range 6 {
		x := &weather{r: rand.New(rand.NewPCG(m.r.Uint64(), 2)), throttle: 0.02, conflict: 0.02, kill: local.KillBefore}
		if m.r.IntN(2) == 0 {
			x.kill = local.KillAfter
		}
		if m.r.IntN(4) > 0 {
			x.killAt = 1 + m.r.Int64N(250)
		}
		m.open(x.fault)
		errs := make(chan error, 16)
		var writing, reading sync.WaitGroup
		for range 4 {
			r := rand.New(rand.NewPCG(m.r.Uint64(), 3))
			writing.Go(func() { errs <- m.write(r) })
		}
		var over atomic.Bool
		for i, d := range devices {
			if i == 3 && round%3 > 0 {
				continue // is away
			}
			fresh := m.r.IntN(4) == 0
			reading.Go(func() {
				for !over.Load() {
					act := d.read
					if fresh {
						act = d.begin
					}
					err := act()
					if err != nil && !passing(err) {
						errs <- err
						return
					}
					fresh = fresh && err != nil
					time.Sleep(200 * time.Microsecond)
				}
			})
		}
		writing.Wait()
		over.Store(true)
		reading.Wait()
		if m.store.Settled(m.ctx) != nil {
			kills++
		}
		m.crash()
		m.open(nil)
		close(errs)
		for err := range errs {
			if err != nil {
				m.t.Fatal(err)
			}
		}
		// What fan-out does again.
		for i := range m.heads {
			if head := m.heads[i].Load(); head > 0 {
				if err := m.log.Moved(m.ctx, owner, roomName(i), userlog.Pos(head), nil); err != nil {
					m.t.Fatal(err)
				}
			}
		}
		late := &reader{m: m}
		if err := late.begin(); err != nil {
			m.t.Fatal(err)
		}
		m.everythingIsTold(late)
		for i, d := range devices {
			if i == 3 && round%3 > 0 {
				continue
			}
			if err := d.read(); err != nil {
				m.t.Fatal(err)
			}
			m.everythingIsTold(d)
		}
		if !expired {
			m.anyToken()
		}
		if m.r.IntN(4) == 0 {
			m.expire()
			expired = true
		}
		m.crash()
	}
	return kills
}

func (m *model) everythingIsTold(d *reader) {
	m.t.Helper()
	for i := range m.heads {
		if head := userlog.Pos(m.heads[i].Load()); d.at[roomName(i)] != head {
			m.t.Errorf("a reader at %d was told of %s up to %d of %d", d.token, roomName(i), d.at[roomName(i)], head)
		}
	}
}

// anyToken reads from tokens that somebody may hold. Where entries have expired,
// nobody can tell where a token stands, and readers rebuild.
func (m *model) anyToken() {
	m.t.Helper()
	h, err := m.log.Head(m.ctx, owner)
	if err != nil {
		m.t.Fatal(err)
	}
	for n := int64(0); n <= h.N; n += 1 + m.r.Int64N(10) {
		d := &reader{m: m, token: n, at: map[string]userlog.Pos{}}
		for i := range m.heads {
			e, _, err := m.log.LastBefore(m.ctx, owner, roomName(i), n)
			if err != nil {
				m.t.Fatal(err)
			}
			d.at[roomName(i)] = e.To
		}
		if err := d.read(); err != nil {
			m.t.Error(err)
			continue
		}
		m.everythingIsTold(d)
	}
}
