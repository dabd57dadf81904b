// Package waketest is the contract of waiting as a test: it drives a waiter with
// a write and a wake between every two of its steps.
package waketest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/wake"
)

// Harness is an implementation to be tested.
type Harness struct {
	wake.Service
	// Elsewhere waits in the place where a Hold sent the client, until that wait
	// is over. It is nil for a service that never sends anybody elsewhere.
	Elsewhere func(ctx context.Context, place string) (wake.Outcome, error)

	here bool // all waits have to be here
}

// hold is Hold, wherever it takes place.
func (h Harness) hold(ctx context.Context, t wake.Ticket) (wake.Outcome, error) {
	o, err := t.Hold(ctx)
	if err != nil || o.Elsewhere == "" {
		return o, err
	}
	if h.here || h.Elsewhere == nil || !places.MatchString(o.Elsewhere) {
		return o, fmt.Errorf("the client is sent to %q", o.Elsewhere)
	}
	return h.Elsewhere(ctx, o.Elsewhere)
}

// places have names that are segments of a path as they are.
var places = regexp.MustCompile(`^[A-Za-z0-9_-]+/[a-z]+$`)

// may is a context that may do all that the contract is about. Who waits may be
// written down in the users table.
func may(t *testing.T) context.Context {
	return grant.With(t.Context(), t.Name(), grant.Of(grant.Wakes(), grant.Holds(),
		grant.ReadTable("users"), grant.WriteTable("users")), nil)
}

// Run tests the contract. open is called once and registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	h := open(t)
	run(t, h)
	if h.Elsewhere != nil {
		h.here = true
		t.Run("Here", func(t *testing.T) { run(t, h) })
	}
}

func run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"EveryInterleaving": testEveryInterleaving,
		"TimeUp":            testTimeUp,
		"ContextEnds":       testContextEnds,
		"Keys":              testKeys,
		"ManyWaiters":       testManyWaiters,
		"NobodyWaits":       testNobodyWaits,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

func arm(t *testing.T, h Harness, d time.Duration, keys ...string) wake.Ticket {
	t.Helper()
	wait := wake.Wait{Keys: keys, Until: time.Now().Add(d), Connection: strings.ToLower(rand.Text())}
	if h.here {
		wait.Connection = ""
	}
	ticket, err := h.Arm(may(t), wait)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func wakeUp(t *testing.T, h Harness, keys ...string) {
	t.Helper()
	if err := h.Wake(may(t), keys...); err != nil {
		t.Errorf("wake: %v", err)
	}
}

// testEveryInterleaving does what a waiting request does (look, arm, look, hold,
// look) and what a writer does (write, wake), with the writer's two steps in
// every pair of gaps. Whenever the waiter is done it has seen the write, and
// only where nothing was to be seen before its time was up it has waited.
func testEveryInterleaving(t *testing.T, h Harness) {
	const gaps = 5 // before look, arm, look, hold; during hold
	for write := range gaps {
		for waking := write; waking < gaps; waking++ {
			t.Run(fmt.Sprintf("write %d, wake %d", write, waking), func(t *testing.T) {
				key := rand.Text()
				var mu sync.Mutex
				written := false
				look := func() bool {
					mu.Lock()
					defer mu.Unlock()
					return written
				}
				at := func(gap int) {
					if gap == write {
						mu.Lock()
						written = true
						mu.Unlock()
					}
					if gap == waking {
						wakeUp(t, h, key)
					}
				}
				start := time.Now()
				at(0)
				if look() {
					return
				}
				at(1)
				ticket := arm(t, h, 20*time.Second, key)
				defer ticket.Release()
				at(2)
				if look() {
					return
				}
				at(3)
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					time.Sleep(20 * time.Millisecond)
					at(4)
				})
				o, err := h.hold(may(t), ticket)
				if err != nil || !o.Woken {
					t.Errorf("hold: %+v, %v", o, err)
				}
				if !look() {
					t.Error("the waiter has not seen the write")
				}
				if waited := time.Since(start); waited > 10*time.Second {
					t.Errorf("waited %s", waited)
				}
			})
		}
	}
}

func testTimeUp(t *testing.T, h Harness) {
	for _, d := range []time.Duration{200 * time.Millisecond, 0, -time.Second} {
		ticket := arm(t, h, d, rand.Text())
		start := time.Now()
		o, err := h.hold(may(t), ticket)
		if err != nil || o.Woken {
			t.Errorf("hold of %s: %+v, %v", d, o, err)
		}
		if took := time.Since(start); took < d-50*time.Millisecond || took > d+5*time.Second {
			t.Errorf("hold of %s took %s", d, took)
		}
		ticket.Release()
	}
}

func testContextEnds(t *testing.T, h Harness) {
	ticket := arm(t, h, 20*time.Second, rand.Text())
	defer ticket.Release()
	ctx, cancel := context.WithTimeout(may(t), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if o, err := h.hold(ctx, ticket); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hold: %+v, %v", o, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("hold took %s", took)
	}
}

func testKeys(t *testing.T, h Harness) {
	a, b, other := rand.Text(), rand.Text(), rand.Text()
	for _, keys := range [][]string{{a}, {b}, {a, b}, {other, b}} {
		ticket := arm(t, h, 20*time.Second, a, b)
		wakeUp(t, h, keys...)
		if o, err := h.hold(may(t), ticket); err != nil || !o.Woken {
			t.Errorf("a wake of %v: %+v, %v", keys, o, err)
		}
		ticket.Release()
	}
	ticket := arm(t, h, 200*time.Millisecond, a, b)
	defer ticket.Release()
	wakeUp(t, h, other)
	if o, err := h.hold(may(t), ticket); err != nil || o.Woken {
		t.Errorf("a wake of another key: %+v, %v", o, err)
	}
}

func testManyWaiters(t *testing.T, h Harness) {
	key := rand.Text()
	released := arm(t, h, 20*time.Second, key)
	released.Release()
	var wg sync.WaitGroup
	for range 10 {
		ticket := arm(t, h, 20*time.Second, key, rand.Text())
		wg.Go(func() {
			defer ticket.Release()
			if o, err := h.hold(may(t), ticket); err != nil || !o.Woken {
				t.Errorf("hold: %+v, %v", o, err)
			}
		})
	}
	wakeUp(t, h, key)
	wg.Wait()
}

func testNobodyWaits(t *testing.T, h Harness) {
	key := rand.Text()
	wakeUp(t, h, key)
	wakeUp(t, h)
	ticket := arm(t, h, 200*time.Millisecond, key)
	defer ticket.Release()
	if o, err := h.hold(may(t), ticket); err != nil || o.Woken {
		t.Errorf("a wake before the wait was armed: %+v, %v", o, err)
	}
}
