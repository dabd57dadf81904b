package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/userlog"
)

// logEnd returns the number of the last entry of a user's log, and how many
// there are.
func (w *world) logEnd(user string) (last int64, count int) {
	w.t.Helper()
	l := &userlog.Service{DB: w.proc.Store.DB(), Clock: w.clock, Waker: w.proc.Store.Wake()}
	page, err := l.After(w.ctx, user, 0, 0)
	w.ok(err)
	return page.Head.N, len(page.Entries)
}

// A log of more than two hints has expired as a whole. Whoever held a token of
// any age is told of what comes next, once.
var rollover = story{
	name: "log rollover",
	setup: func(w *world) {
		people("alice", "bob")(w)
		for i := range 130 {
			w.ok(say("alice", fmt.Sprint("old", i))(w))
			if i == 60 {
				w.settle()
				w.ok(w.clients["bob"].sync())
				w.vars["early"] = w.clients["bob"].since
			}
		}
		w.settle()
		w.ok(w.clients["bob"].sync())
		w.vars["late"] = w.clients["bob"].since
		w.vars["end"] = w.end("@alice:test")
		w.clock.pass(userlog.Retention + time.Hour)
		w.ok(w.proc.Store.Sweep())
		w.settle()
		for _, c := range w.clients {
			c.watch()
		}
		w.vars["rebuilt"] = w.clients["bob"].since
		if _, count := w.logEnd("@alice:test"); count != 0 {
			w.t.Errorf("%d entries have not expired", count)
		}
	},
	steps: []step{say("alice", "new"), say("bob", "newer")},
	after: func(w *world) {
		if now := w.end("@alice:test"); now <= w.vars["end"] {
			w.t.Errorf("the log ends at %s, and did before at %s", now, w.vars["end"])
		}
		for _, token := range []string{"early", "late", "rebuilt"} {
			bob := *w.clients["bob"]
			bob.since, bob.saw = w.vars[token], map[string][]string{}
			w.ok(bob.sync())
			w.ok(bob.sync())
			saw := bob.saw[w.vars["room"]]
			for _, txn := range []string{"new", "newer"} {
				if n := len(saw) - len(slices.DeleteFunc(slices.Clone(saw), func(e string) bool { return e == w.vars[txn] })); n != 1 {
					w.t.Errorf("the %s token was told of %s %d times", token, txn, n)
				}
			}
		}
	},
}

// end is logEnd as a variable of a story, ordered as numbers are.
func (w *world) end(user string) string {
	n, _ := w.logEnd(user)
	return fmt.Sprintf("%08d", n)
}

func TestKillsWhileALogRollsOver(t *testing.T) { kills(t, rollover) }
