package faults

import (
	"slices"
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
)

// deaf is a world whose change streams lose every record.
func (w *world) deaf(fault func(local.Call) local.Fault) {
	w.t.Helper()
	w.edit = func(o *local.Options) { o.Lose = func(store.Change) bool { return true } }
	w.open(fault)
	w.edit = nil
}

// TestASweepDeliversWhatTheStreamsLost loses every change, and then kills the
// sweep at each of its writes: in the end everybody is told once.
func TestASweepDeliversWhatTheStreamsLost(t *testing.T) {
	base := newWorld(t)
	base.open(nil)
	people("alice", "bob", "carol", "dave")(base)
	w := base
	w.ok(w.clients["dave"].create("other", map[string]any{"preset": "public_chat"}))
	_, err := w.clients["bob"].must("POST", roomPath(w.vars["other"], "join"), map[string]any{})
	w.ok(err)
	w.settle()
	w.syncAll()
	w.close()
	w.deaf(nil)
	w.ready()
	for _, s := range []step{
		say("alice", "one"), say("bob", "two"), post("carol", "leave", map[string]any{}), say("alice", "three"),
		func(w *world) error { _, err := w.clients["dave"].send(w.vars["other"], "four", "four"); return err },
	} {
		w.ok(s(w))
	}
	w.settle()
	w.ok(w.clients["dave"].sync())
	if saw := w.clients["dave"].saw[w.vars["room"]]; slices.Contains(saw, w.vars["one"]) {
		t.Fatal("nothing was lost")
	}
	w.close()
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := int64(1); ; n++ {
			c := base.clone(t)
			c.deaf(local.KillAt(n, fault, writes))
			c.arm()
			over := c.proc.RunTimers(c.ctx) == nil
			c.close()
			c.deaf(nil)
			c.ready()
			c.sweep()
			c.syncAll()
			c.checkSwept()
			for _, name := range []string{"alice", "bob", "dave"} {
				c.sawTheir(name, "one", "two", "three")
			}
			c.sawTheir("carol", "one", "two")
			c.close()
			if t.Failed() {
				t.Fatalf("kill %d at write %d", fault, n)
			}
			if over {
				t.Logf("killed at %d places", n-1)
				break
			}
		}
	}
}
