package userlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

const user, room = "@alice:test", "!room:test"

// ahead is the machine's clock, moved on by the test. Pauses take their time.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time                         { return time.Now().UTC().Add(time.Duration(a.by.Load())) }
func (a *ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (a *ahead) pass(d time.Duration)                   { a.by.Add(int64(d)) }

type log struct {
	*userlog.Service
	t     *testing.T
	ctx   context.Context
	clock *ahead
	disk  *local.Memory
	store *local.Local
}

func open(t *testing.T, disk *local.Memory, clock *ahead, fault func(local.Call) local.Fault) *log {
	t.Helper()
	opt := disk.Options()
	opt.Clock, opt.Fault = clock, fault
	l, err := local.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &log{
		Service: &userlog.Service{DB: l.DB(), Clock: clock, Waker: l.Wake()},
		t:       t, clock: clock, disk: disk, store: l,
		ctx: grant.With(t.Context(), "test", userlog.Appends, nil),
	}
}

func (l *log) append(times int) (last int64) {
	l.t.Helper()
	for range times {
		n, err := l.Append(l.ctx, user, userlog.Entry{Kind: userlog.KindAccountData, Type: "x"})
		if err != nil {
			l.t.Fatal(err)
		}
		last = n
	}
	return last
}

func (l *log) moved(to userlog.Pos) {
	l.t.Helper()
	if err := l.Moved(l.ctx, user, room, to, nil); err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) after(n int64) userlog.Page {
	l.t.Helper()
	p, err := l.After(l.ctx, user, n, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// expire lets everything expire, and deletes it.
func (l *log) expire() {
	l.t.Helper()
	l.clock.pass(userlog.Retention + time.Minute)
	if err := l.store.Sweep(); err != nil {
		l.t.Fatal(err)
	}
}

func entryKey(n int64) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: fmt.Sprintf("L#%016x", n)}
}

// A log that has expired as a whole goes on with numbers that it never had, so
// that no token is beyond its end: an entry below the token would be hidden.
type wakes struct{ n int }

func (w *wakes) Wake(context.Context, ...string) error { w.n++; return nil }

// A sender's log is written by the request and looked at by the fan-out. A device
// that waits comes back once.
func TestWhatIsInTheLogAlreadyWakesNobody(t *testing.T) {
	l := open(t, local.NewMemory(), new(ahead), nil)
	w := new(wakes)
	l.Waker = w
	for i, to := range []userlog.Pos{1, 1, 2, 1} {
		l.moved(to)
		if _, err := l.MovedAll(l.ctx, room, 0, map[string]userlog.Pos{user: to}, nil); err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 1, 2, 2}[i]; w.n != want {
			t.Errorf("move %d: woken %d times, not %d", i, w.n, want)
		}
	}
}

func TestNumbersGoOnAfterALogHasExpired(t *testing.T) {
	for _, length := range []int{1, 10, 63, 64, 65, 66, 130} {
		l := open(t, local.NewMemory(), new(ahead), nil)
		var high int64
		for round := range 3 {
			last := l.append(length)
			if last <= high {
				t.Fatalf("%d entries, round %d: the last number is %d after %d", length, round, last, high)
			}
			high = last
			l.expire()
			if p := l.after(last); len(p.Entries) > 0 || p.Head.N < last {
				t.Fatalf("%d entries, round %d: after %d comes %+v", length, round, last, p)
			}
			token := l.after(last).Head.N
			next := l.append(1)
			if p := l.after(token); next <= token || len(p.Entries) != 1 {
				t.Fatalf("%d entries, round %d: entry %d is hidden from the token %d", length, round, next, token)
			}
			if p := l.after(last); len(p.Entries) != 1 || p.Gap != (next > last+1) {
				t.Fatalf("%d entries, round %d: entry %d after %d: gap %v, %d entries", length, round, next, last, p.Gap, len(p.Entries))
			}
			high = next
		}
	}
}

// DynamoDB deletes what has expired at some time and in no order.
func TestNumbersGoOnWhenEntriesExpireInAnyOrder(t *testing.T) {
	for _, early := range []time.Duration{-time.Second, time.Minute} { // a clock may be a little behind
		l := open(t, local.NewMemory(), new(ahead), nil)
		last := l.append(100)
		l.clock.pass(userlog.Retention + early)
		for n := last; n > 90; n-- {
			if _, err := l.DB.Write(l.ctx, store.Delete(store.Users, entryKey(n))); err != nil {
				t.Fatal(err)
			}
		}
		next := l.append(1)
		if next <= last {
			t.Errorf("the entry after %d is %d", last, next)
		}
		for _, token := range []int64{80, 95, last} {
			if p := l.after(token); !p.Gap || p.Head.N != next {
				t.Errorf("a reader at %d reads up to %d, gap %v; the end is %d", token, p.Head.N, p.Gap, next)
			}
		}
	}
}

// Who was away until everything had expired must not wait for the next entry to
// learn that there was something.
func TestReadersLearnThatEntriesHaveExpired(t *testing.T) {
	l := open(t, local.NewMemory(), new(ahead), nil)
	if p := l.after(0); p.Gap || p.Head.N != 0 {
		t.Errorf("a log that never was: %+v", p)
	}
	l.append(10)
	l.expire()
	for _, token := range []int64{0, 5, 10} {
		p := l.after(token)
		if !p.Gap {
			t.Errorf("a reader at %d hears of nothing", token)
		}
		if again := l.after(p.Head.N); again.Gap || again.Head.N != p.Head.N {
			t.Errorf("a reader who rebuilt at %d has to rebuild again: %+v", p.Head.N, again)
		}
		if h, err := l.Head(l.ctx, user); err != nil || h.N != p.Head.N {
			t.Errorf("the end is %d for one reader and %d for another (%v)", p.Head.N, h.N, err)
		}
	}
}

// A kill at any write of the first entry after an expired log leaves either the
// entry or its repair to come, for every token that a reader may hold by then.
func TestARolloverThatIsKilledTellsOnce(t *testing.T) {
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := int64(1); ; n++ {
			disk, clock := local.NewMemory(), new(ahead)
			l := open(t, disk, clock, nil)
			for i := range 70 {
				l.moved(userlog.Pos(i + 1))
			}
			l.expire()
			token := l.after(3).Head.N // as of who rebuilt just now
			_ = l.store.Close()
			l = open(t, disk, clock, local.KillAt(n, fault, nil))
			err := l.Moved(l.ctx, user, room, 71, nil)
			if err != nil && !errors.Is(err, local.ErrKilled) {
				t.Fatal(err)
			}
			killed := err != nil
			_ = l.store.Close()
			l = open(t, disk.Crash(), clock, nil)
			l.moved(71)
			p := l.after(token)
			if p.Gap || len(p.Entries) != 1 || p.Entries[0].From != 70 || p.Entries[0].To != 71 {
				t.Errorf("kill %d at %d: the token %d gets %+v", fault, n, token, p)
			}
			_ = l.store.Close()
			if !killed {
				break
			}
		}
	}
}

// dormant is longer than a user stays active.
const dormant = userlog.ActiveFor + time.Hour

// What the store answers when it is busy is tried again, since the event is
// committed by then and its sender waits for no more than this.
func TestABusyStoreIsTriedAgain(t *testing.T) {
	var calls atomic.Int64
	l := open(t, local.NewMemory(), new(ahead), func(local.Call) local.Fault {
		switch calls.Add(1) % 7 {
		case 1:
			return local.Conflict
		case 2:
			return local.Throttle
		}
		return local.NoFault
	})
	for to := userlog.Pos(1); to <= 10; to++ {
		l.moved(to)
		l.append(1)
		l.clock.pass(dormant)
		a, err := l.CheckIn(l.ctx, user, userlog.Activity{})
		if err != nil || !a.Waking {
			t.Fatalf("a dormant user's device looked, and found %+v, %v", a, err)
		}
		if err := l.CaughtUp(l.ctx, user, a); err != nil {
			t.Fatal(err)
		}
	}
}

// lost is a store in which others are always faster: every entry and every
// cursor was just written by somebody else.
type lost struct {
	store.DB
	what string
}

func (d lost) Write(ctx context.Context, w store.Write) (store.Item, error) {
	if strings.HasPrefix(w.Key.Sort, d.what) {
		return store.Item{}, &store.ConditionFailed{Failed: map[int]store.Item{0: {}}}
	}
	return d.DB.Write(ctx, w)
}

func (d lost) Transact(ctx context.Context, ws ...store.Write) error {
	for i, w := range ws {
		if strings.HasPrefix(w.Key.Sort, d.what) {
			return &store.ConditionFailed{Failed: map[int]store.Item{i: {}}}
		}
	}
	return d.DB.Transact(ctx, ws...)
}

func TestNobodyTriesForEver(t *testing.T) {
	for _, what := range []string{"L#", "ROOM#"} {
		synctest.Test(t, func(t *testing.T) {
			l := open(t, local.NewMemory(), new(ahead), nil)
			l.DB = lost{l.DB, what}
			ctx, cancel := context.WithTimeout(l.ctx, 30*time.Second)
			defer cancel()
			if err := l.Moved(ctx, user, room, 1, nil); err == nil || ctx.Err() != nil {
				t.Errorf("moved although every %s is lost: %v, %v", what, err, ctx.Err())
			}
			_, err := l.Append(ctx, user, userlog.Entry{Kind: userlog.KindAccountData})
			if lost := what == "L#"; (err != nil) != lost || ctx.Err() != nil {
				t.Errorf("appended although every %s is lost: %v, %v", what, err, ctx.Err())
			}
		})
	}
}
