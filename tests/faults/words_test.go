package faults

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// finds searches for all that a word finds, newest first, and compares.
func (w *world) finds(word string, want ...string) {
	w.t.Helper()
	body := map[string]any{"search_categories": map[string]any{"room_events": map[string]any{
		"search_term": word, "order_by": "recent", "filter": map[string]any{"limit": 40},
	}}}
	var got []string
	for next := ""; ; {
		a, err := w.client("alice").must("POST", "/_matrix/client/v3/search?next_batch="+url.QueryEscape(next), body)
		w.ok(err)
		found, _ := a.body["search_categories"].(map[string]any)["room_events"].(map[string]any)
		for _, r := range found["results"].([]any) {
			got = append(got, r.(map[string]any)["result"].(map[string]any)["event_id"].(string))
		}
		if next, _ = found["next_batch"].(string); next == "" {
			break
		}
	}
	slices.Reverse(got)
	for i := range want {
		want[i] = w.vars[want[i]]
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%q finds %d events, and %d there are", word, len(got), len(want))
	}
}

// checkWords checks that the index of the story's room has the rows of its runs, and
// no others but those that are to be deleted next.
func (w *world) checkWords() {
	w.t.Helper()
	tl := timeline.New(timeline.Options{DB: w.proc.Store.DB(), Clock: w.clock, ServerName: "test"})
	room := w.vars["room"]
	x, err := tl.WordIndex(w.ctx, room)
	w.ok(err)
	head, err := tl.Head(w.ctx, room)
	w.ok(err)
	if rest := head.Pos - x.High; rest >= timeline.IndexStep {
		w.t.Errorf("%d positions are not indexed", rest)
	}
	left := map[string]int{}
	for _, it := range w.rows(store.Events, "IX#"+room) {
		if run, ok := has(it.Key.Sort, "R#"); ok {
			run, _, _ = strings.Cut(run, "#")
			left[run]++
		}
	}
	for _, ref := range slices.Concat(x.Full, x.Young) {
		if left[ref.ID] != ref.Rows {
			w.t.Errorf("the run %s has %d rows of %d", ref.ID, left[ref.ID], ref.Rows)
		}
		delete(left, ref.ID)
	}
	for _, id := range x.Dropped {
		delete(left, id)
	}
	for id, n := range left {
		w.t.Errorf("there are %d rows of the run %s, which is not in the index", n, id)
	}
}

// TestKillsWhileWordsAreIndexed lets messages pile up that nobody indexes, and kills
// the sweep that does at each of its writes. Whatever is left, each message is found
// once, and after another sweep nothing is left over.
func TestKillsWhileWordsAreIndexed(t *testing.T) {
	w := newWorld(t)
	w.open(nil)
	people("alice")(w)
	w.close()
	w.deaf(nil)
	w.ready()
	const messages = timeline.MiddleRun + 2*timeline.IndexStep
	var all, rare []string
	for i := range messages {
		txn := fmt.Sprintf("t%d", i)
		w.ok(say("alice", txn)(w))
		if all = append(all, txn); i%50 == 49 {
			rare = append(rare, txn)
		}
	}
	edit := func(txn, text string) {
		_, err := w.client("alice").must("PUT", roomPath(w.vars["room"], "send/m.room.message/e"+txn), map[string]any{
			"msgtype": "m.text", "body": "* " + text, "m.new_content": map[string]string{"msgtype": "m.text", "body": text},
			"m.relates_to": map[string]string{"rel_type": "m.replace", "event_id": w.vars[txn]},
		})
		w.ok(err)
	}
	for _, txn := range rare {
		edit(txn, "message rare")
	}
	for i := range timeline.IndexStep {
		txn := fmt.Sprintf("u%d", i)
		w.ok(say("alice", txn)(w))
		all = append(all, txn)
	}
	check := func(c *world) {
		c.finds("message", slices.Clone(all)...)
		c.finds("rare", slices.Clone(rare)...)
		c.finds("t49") // what it was
		c.finds("t48", "t48")
	}
	check(w)
	w.close()
	places, every := 0, int64(1)
	if testing.Short() {
		every = 9
	}
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := int64(1); ; n += every {
			c := w.clone(t)
			c.deaf(local.KillAt(n, fault, writes))
			c.arm()
			over := c.proc.RunTimers(c.ctx) == nil
			c.close()
			c.deaf(nil)
			c.ready()
			check(c)
			c.sweep()
			check(c)
			c.checkWords()
			c.close()
			if t.Failed() {
				t.Fatalf("kill %d at write %d", fault, n)
			}
			if over {
				break
			}
			places++
		}
	}
	t.Logf("killed at %d places", places)
	if !testing.Short() && places < 4*messages/timeline.IndexStep {
		t.Error("the sweep did not write the index")
	}
}
