package userlog_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// another is another process on the same store.
func (l *log) another() *log {
	o := *l
	o.Service = &userlog.Service{DB: l.DB, Clock: l.clock, Waker: l.Waker}
	return &o
}

func (l *log) active(users ...string) []string {
	l.t.Helper()
	active, err := l.Active(l.ctx, users)
	if err != nil {
		l.t.Fatal(err)
	}
	slices.Sort(active)
	return active
}

func (l *log) wake(user string) {
	l.t.Helper()
	a, err := l.CheckIn(l.ctx, user, userlog.Activity{})
	if err == nil {
		err = l.CaughtUp(l.ctx, user, a)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// Who sleeps is asked once, and not at each message; who wakes is heard of, however
// long the process did not listen.
func TestWhoSleepsIsRemembered(t *testing.T) {
	l := open(t, local.NewMemory(), new(ahead), nil)
	one, other := l.another(), l.another()
	var users []string
	for i := range 50 {
		users = append(users, fmt.Sprintf("@user%02d:test", i))
	}
	other.wake(users[0])
	for _, away := range []time.Duration{0, time.Minute, 30 * time.Hour, 100 * time.Hour} {
		l.clock.pass(away)
		for _, user := range users[:3] {
			other.wake(user)
			if got := one.active(users...); !slices.Contains(got, user) {
				t.Fatalf("after %v: %s woke, and only %v are known to be active", away, user, got)
			}
		}
		var m store.Meter
		all := one.ctx
		one.ctx = store.WithMeter(all, &m)
		if got := one.active(users...); len(got) != 3 {
			t.Errorf("after %v: %v are active", away, got)
		}
		one.ctx = all
		if m.Total().Reads > 1 {
			t.Errorf("after %v: to ask again costs %s", away, m.Total())
		}
	}
	_, err := other.DB.Write(other.ctx, userlog.PusherSet(users[9], 1))
	if err == nil {
		err = other.Woke(other.ctx, users[9])
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := one.active(users...); !slices.Contains(got, users[9]) {
		t.Errorf("a user with a pusher is dormant; active are %v", got)
	}
}

// Somebody wakes before any one call of the store by which a process finds out who
// is active. Whoever woke before HEAD was read, which is before the first call, is
// found: those who wake later see HEAD themselves.
func TestWhoWakesMeanwhileIsNotRememberedAsDormant(t *testing.T) {
	const a, b = "@a:test", "@b:test"
	for n := int64(1); ; n++ {
		var at, calls atomic.Int64
		var l *log
		var other *log
		waking := atomic.Bool{}
		fault := func(local.Call) local.Fault {
			if !waking.Load() && at.Load() > 0 && calls.Add(1) == at.Load() {
				waking.Store(true)
				other.wake(b)
				waking.Store(false)
			}
			return local.NoFault
		}
		l = open(t, local.NewMemory(), new(ahead), fault)
		one := l.another()
		other = l.another()
		one.active(a) // a is remembered
		at.Store(n)
		one.active(a, b)
		over := calls.Load() < n
		at.Store(0)
		if got := one.active(a, b); !over && !slices.Equal(got, []string{b}) {
			t.Errorf("b woke before call %d, and active are %v", n, got)
		}
		if over {
			return
		}
	}
}
