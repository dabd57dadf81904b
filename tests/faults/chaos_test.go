package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// weather is what goes wrong in a run at random: calls that are throttled or in
// conflict, and a kill.
type weather struct {
	r                  *rand.Rand
	throttle, conflict float64 // of all calls
	killAt             int64   // the write that is killed; 0 is none
	kill               local.Fault

	mu     sync.Mutex
	writes int64
}

func (x *weather) fault(c local.Call) local.Fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.Writes {
		if x.writes++; x.writes == x.killAt {
			return x.kill
		}
	}
	switch p := x.r.Float64(); {
	case p < x.throttle:
		return local.Throttle
	case p < x.throttle+x.conflict:
		return local.Conflict
	}
	return local.NoFault
}

// actor is a client with a list of things to do. Each is done until it is
// answered.
type actor struct {
	*client
	todo []func() error
	next int
}

// maxAsked is how often an actor asks a server that is alive for the same thing.
// The weather fails a request in two, so nobody asks that often by chance.
const maxAsked = 100

// act does things until the list ends or the server is gone. A server that is
// there and does not do what it is asked for is an error, and not for ever.
func (a *actor) act() error {
	asked := 0
	for a.next < len(a.todo) {
		switch err := a.todo[a.next](); {
		case err == nil:
			a.next++
			asked = 0
		case err != errDied:
			return err
		case asked == maxAsked:
			return fmt.Errorf("%s asked %d times for the thing %d of %d, of a server that is alive", a.name, asked, a.next+1, len(a.todo))
		default:
			asked++
			if dead, err := a.w.dead(); dead || err != nil {
				return err
			}
		}
	}
	return nil
}

// dead reports whether the server was killed, once its workers have nothing to
// do. It is an error if that takes longer than any weather.
func (w *world) dead() (bool, error) {
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	err := w.proc.Store.Settled(ctx)
	if ctx.Err() != nil {
		return false, errors.New("the workers do not settle")
	}
	return err != nil, nil
}

func TestAServerThatDoesNothingEndsTheStory(t *testing.T) {
	w := newWorld(t)
	w.open(nil)
	defer w.close()
	a := &actor{client: w.client("alice"), todo: []func() error{func() error { return errDied }}}
	if err := a.act(); err == nil {
		t.Error("an actor gave up without a word")
	}
}

// Two people send at once, one of them on two devices, a third comes and goes, a
// fourth changes names, half of them at another process; the streams repeat, mix
// and lose their records, the room is pulled, reads lag, calls are throttled and in conflict, and the
// server is killed again and again. Two others just read, also while it happens.
func TestManyThingsGoWrongAtOnce(t *testing.T) {
	base := newWorld(t)
	base.open(nil)
	people("alice", "bob", "carol", "dave", "reader", "late")(base)
	base.close()
	for seed := range seeds(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			base.chaos(t, seed)
		})
	}
}

func (w *world) chaos(t *testing.T, seed uint64) {
	r := seeded(t, seed)
	w = w.clone(t)
	if seed%4 < 2 {
		w.large = 3 // then the room is pulled
	}
	lost := rand.New(rand.NewPCG(seed, 4))
	w.edit = func(o *local.Options) {
		if seed%2 == 0 {
			o.Lose = func(store.Change) bool { return lost.IntN(3) == 0 } // by the one worker that follows
		}
		o.Shuffle, o.Rand = true, rand.New(rand.NewPCG(seed, 1))
		if seed%3 == 0 {
			o.Lag = 20 * time.Millisecond
		}
	}
	room := w.vars["room"]
	w.clients["bob"].elsewhere, w.clients["dave"].elsewhere = true, true
	actors := []*actor{{client: w.clients["alice"]}, {client: w.clients["alice"]}, {client: w.clients["bob"]}, {client: w.clients["carol"]}, {client: w.clients["dave"]}}
	plan := func(a *actor, f func() error) { a.todo = append(a.todo, f) }
	for i := range 12 {
		for n, a := range actors[:3] {
			txn := fmt.Sprintf("%d-%d", n, i)
			first := ""
			for range 1 + r.IntN(2) { // some answers get lost on the way
				plan(a, func() error {
					event, err := a.send(room, txn, "says "+txn)
					if err == nil && first != "" && first != event {
						return fmt.Errorf("%s is %s and %s", txn, first, event)
					}
					if err == nil {
						first = event
					}
					return err
				})
			}
		}
		carol, dave := actors[3], actors[4]
		if i < 6 {
			plan(carol, func() error { _, err := carol.must("POST", roomPath(room, "leave"), map[string]any{}); return err })
			plan(carol, func() error { _, err := carol.must("POST", roomPath(room, "join"), map[string]any{}); return err })
		}
		plan(dave, func() error {
			_, err := dave.must("PUT", profilePath(dave.user, "displayname"), map[string]string{"displayname": fmt.Sprint("Dave ", i)})
			return err
		})
		plan(dave, func() error {
			_, err := dave.must("PUT", "/_matrix/client/v3/user/"+url.PathEscape(dave.user)+"/account_data/x.y", map[string]int{"i": i})
			return err
		})
	}
	unfinished := func() bool {
		for _, a := range actors {
			if a.next < len(a.todo) {
				return true
			}
		}
		return false
	}
	kills := 0
	for lives := 0; unfinished(); lives++ {
		if lives == 60 {
			t.Fatal("it does not end")
		}
		x := &weather{r: r, throttle: 0.03, conflict: 0.03, kill: local.KillBefore, killAt: 1 + r.Int64N(150)}
		if r.IntN(2) == 0 {
			x.kill = local.KillAfter
		}
		if lives > 8 {
			x.killAt = 0
		}
		w.open(x.fault)
		w.arm()
		var wg sync.WaitGroup
		var over atomic.Bool
		errs := make(chan error, len(actors)+1)
		for _, a := range actors {
			wg.Go(func() { errs <- a.act() })
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			for !over.Load() {
				if err := w.clients["reader"].sync(); err != nil && err != errDied {
					errs <- err
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		wg.Wait()
		over.Store(true)
		reading.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatalf("%v; log:\n%s", err, w.log)
			}
		}
		if dead, err := w.dead(); err != nil {
			t.Fatalf("%v; log:\n%s", err, w.log)
		} else if dead {
			kills++
		}
		w.close()
	}
	w.edit = nil
	w.open(nil)
	defer func() { w.close() }()
	w.ready()
	w.sweep()
	delete(w.clients, "carol") // who comes and goes sees what others say meanwhile later or never
	w.syncAll()
	w.checkSwept()
	if pulled := w.fan(room).State == timeline.StatePulled; pulled != (w.large > 0) {
		t.Errorf("pulled is %t", pulled)
	}
	said := map[string]int{}
	for _, o := range w.check()[room].events {
		if o.Txn != "" {
			said[o.Txn]++
		}
	}
	if len(said) != 36 {
		t.Errorf("%d messages were said, not 36", len(said))
	}
	w.checkChunks()
	t.Logf("killed %d times", kills)
}
