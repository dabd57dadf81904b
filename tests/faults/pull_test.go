package faults

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// crowd are the members of a room that becomes too large to write to all logs.
var crowd = []string{"alice", "bob", "carol", "dave", "erin", "frank"}

func lookAll(w *world) error {
	for _, name := range slices.Sorted(maps.Keys(w.clients)) {
		if c := w.clients[name]; c.since != "" {
			if err := c.sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settled is a step that lets the workers come to their end.
func settled(w *world) error {
	if !w.settle() {
		return errDied
	}
	return nil
}

// is checks how the members of the story's room learn what happens.
func (w *world) is(state timeline.FanState) {
	w.t.Helper()
	if got := w.fan(w.vars["room"]).State; got != state {
		w.t.Errorf("the room is in state %q, not %q", got, state)
	}
}

// is is a step that checks it where there was no kill: after one everybody looks,
// and is active.
func is(state timeline.FanState) step {
	return func(w *world) error {
		w.mu.Lock()
		armed := w.armed
		w.mu.Unlock()
		if armed {
			w.is(state)
		}
		return nil
	}
}

// pulling lets a room grow until it is pulled, with people who join and leave it
// then.
var pulling = story{
	name:  "pull",
	large: 5,
	setup: func(w *world) {
		people(crowd[:5]...)(w)
		w.register("frank", "grace")
		w.clients["frank"].watch()
		w.clients["grace"].watch()
		w.clients["bob"].elsewhere, w.clients["grace"].elsewhere = true, true
		w.is(timeline.StatePushed)
	},
	steps: []step{
		post("frank", "join", map[string]any{}), settled, is(timeline.StatePulled),
		say("alice", "one"), look("bob"), settled, lookAll,
		post("grace", "join", map[string]any{}), say("bob", "two"),
		post("carol", "leave", map[string]any{}), settled, say("grace", "three"), look("frank"), settled, lookAll,
	},
	after: func(w *world) {
		for _, name := range []string{"alice", "bob", "dave", "erin", "frank"} {
			w.sawTheir(name, "one", "two", "three")
		}
		w.sawTheir("grace", "two", "three")
	},
}

// unpulling has most members of a pulled room go away, and come back.
var unpulling = story{
	name:  "pull no longer, and again",
	large: 5,
	setup: func(w *world) {
		people(crowd...)(w)
		w.clients["bob"].elsewhere, w.clients["dave"].elsewhere = true, true
		w.ok(say("alice", "zero")(w))
		w.settle()
		w.is(timeline.StatePulled)
		w.syncAll()
		w.clock.pass(userlog.ActiveFor + 2*time.Hour)
		w.ok(w.clients["alice"].sync())
		w.ok(w.clients["bob"].sync())
	},
	steps: []step{
		say("alice", "one"), settled, is(timeline.StatePushed), look("bob"),
		func(w *world) error { w.clock.pass(2 * time.Hour); return nil }, look("bob"), // stops looking
		say("bob", "two"), settled, look("alice"), lookAll,
		say("carol", "three"), settled, is(timeline.StatePulled), say("dave", "four"), settled, lookAll,
	},
	after: func(w *world) {
		for _, name := range crowd {
			w.sawTheir(name, "one", "two", "three", "four")
		}
	},
}

func TestKillsWhilePulling(t *testing.T)   { kills(t, pulling) }
func TestKillsWhileUnpulling(t *testing.T) { kills(t, unpulling) }

// Everybody waits, somebody speaks in a pulled room, and everybody is answered
// with it at once, once.
func TestWhoWaitsIsToldOfAPulledRoom(t *testing.T) {
	w := newWorld(t)
	w.large = 5
	w.open(nil)
	defer w.close()
	people(crowd...)(w)
	w.ok(say("alice", "zero")(w))
	w.ready()
	w.is(timeline.StatePulled)
	w.syncAll()
	room := w.vars["room"]
	for round := range 5 {
		txn := fmt.Sprint("round", round)
		got := make([]string, len(crowd))
		begin := time.Now()
		var wg sync.WaitGroup
		for i, name := range crowd[1:] {
			c := w.clients[name]
			wg.Go(func() {
				// Whoever begins to wait after it was said is answered as well.
				a := c.do("GET", "/_matrix/client/v3/sync?timeout=20000&since="+c.since, nil)
				c.since = a.str("next_batch")
				rooms, _ := a.body["rooms"].(map[string]any)
				join, _ := rooms["join"].(map[string]any)
				in, _ := join[room].(map[string]any)
				line, _ := in["timeline"].(map[string]any)
				events, _ := line["events"].([]any)
				for _, e := range events {
					got[i] += e.(map[string]any)["event_id"].(string)
				}
			})
		}
		if round%2 == 0 {
			time.Sleep(20 * time.Millisecond) // most of them hold by now
		}
		w.ok(say("alice", txn)(w))
		wg.Wait()
		for i, name := range crowd[1:] {
			if got[i] != w.vars[txn] {
				t.Errorf("%s: %s was told %q, not %q", txn, name, got[i], w.vars[txn])
			}
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: it took %s", txn, took)
		}
		w.settle()
	}
}
