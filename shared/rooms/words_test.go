package rooms_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/words"
)

// TestWordsOfThePastAreIndexed indexes a room that hears of its history in any order
// and in parts, with gaps that are filled later, and checks that the index has the
// words of all that it says it has.
func TestWordsOfThePastAreIndexed(t *testing.T) {
	merged, filled := 0, 0
	for seed := range uint64(6) {
		h := roomstest.New(t, []string{"1", "10", "12"}[seed%3], 100+seed, "one", "two", "test")
		h.Grow(260)
		h.End()
		p := feed(t, h, seed, local.NewMemory().Options())
		p.begin()
		order := slices.Clone(h.Order)
		// Mostly as it was, with pieces that come early and leave gaps.
		for range len(order) / 15 {
			i := p.r.IntN(len(order))
			j := min(len(order)-1, i+p.r.IntN(80))
			order[i], order[j] = order[j], order[i]
		}
		p.tells = 8
		for i, eventID := range order {
			if p.news(eventID); i%7 == 0 {
				p.ok(p.dispatch())
				p.checkWords()
			}
		}
		x, err := p.timeline.WordIndex(p.ctx, h.Room)
		p.ok(err)
		filled += len(x.Holes)
		p.backfill()
		for _, eventID := range h.Order {
			p.news(eventID)
		}
		p.ok(p.dispatch())
		p.ok(p.dispatch()) // a change that is repeated does no harm
		x = p.checkWords()
		if len(x.Holes) > 0 {
			t.Errorf("nothing is missing any more, but for %v", x.Holes)
		}
		head, err := p.timeline.Head(p.ctx, h.Room)
		p.ok(err)
		rows, err := p.timeline.Range(p.ctx, h.Room, x.High, head.Pos, false, 0)
		p.ok(err)
		if len(rows) >= timeline.IndexStep {
			t.Errorf("%d positions are not indexed", len(rows))
		}
		for _, ref := range x.Young {
			if ref.Docs >= timeline.IndexStep {
				merged++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if merged == 0 || filled == 0 {
		t.Errorf("%d runs and %d holes: not much was tried", merged, filled)
	}
}

// checkWords compares the index with the events that it says it has.
func (p *peer) checkWords() timeline.WordIndex {
	p.t.Helper()
	room := p.h.Room
	x, err := p.timeline.WordIndex(p.ctx, room)
	p.ok(err)
	type entry struct {
		doc words.Doc
		key string
	}
	have := map[entry]bool{}
	for _, ref := range slices.Concat(x.Full, x.Young) {
		run, err := p.timeline.Run(p.ctx, room, ref)
		p.ok(err)
		for key, list := range run.Words {
			for _, n := range list {
				have[entry{run.Docs[n], key}] = true
			}
		}
	}
	rows, err := p.timeline.Range(p.ctx, room, 0, ^timeline.Pos(0), false, 0)
	p.ok(err)
	for _, r := range rows {
		if !x.Indexed(r.Pos) {
			continue
		}
		entries, err := p.timeline.Entries(p.ctx, room, []*timeline.EventRow{r}, x.Indexed)
		p.ok(err)
		for _, e := range entries {
			// Of an edit of what is not indexed yet, the words come with that.
			if !x.Indexed(timeline.Pos(e.Pos)) {
				continue
			}
			for _, key := range e.Keys {
				if !have[entry{e.Doc, key}] {
					p.t.Errorf("the event %s at %s is not found by %q", r.ID, r.Pos, key)
				}
			}
		}
	}
	if p.t.Failed() {
		p.t.Fatalf("the index is %+v", x)
	}
	return x
}

// TestAnEditThatComesBeforeWhatItEdits is found as itself as long as what it edits is
// not here, and then as that, indexed or not.
func TestAnEditThatComesBeforeWhatItEdits(t *testing.T) {
	h := roomstest.New(t, "10", 1, "one", "test")
	say := func(text string, more map[string]any) string {
		content := map[string]any{"msgtype": "m.text", "body": text}
		maps.Copy(content, more)
		return h.Add(h.Order[len(h.Order)-1:], roomstest.Event{Sender: "@a:one", Type: "m.room.message", Content: content}).Event().ID
	}
	p := feed(t, h, 1, local.NewMemory().Options())
	p.tells = 10
	p.begin()
	for _, eventID := range h.Order {
		p.news(eventID)
	}
	var past []string
	for range 3 * timeline.IndexStep / 2 {
		past = append(past, say("hay", nil))
	}
	kettle := say("kettle", nil)
	past = append(past, kettle, say("hay", nil))
	edit := say("* samovar", map[string]any{
		"m.new_content": map[string]any{"msgtype": "m.text", "body": "samovar"},
		"m.relates_to":  map[string]any{"rel_type": "m.replace", "event_id": kettle},
	})
	news := []string{edit}
	for range timeline.IndexStep {
		news = append(news, say("straw", nil))
	}
	for _, eventID := range news {
		p.news(eventID)
	}
	finds := func(what string, want ...string) {
		t.Helper()
		p.ok(p.dispatch())
		for term, ids := range map[string][]string{"samovar": want, "kettle": nil} {
			resp, err := p.timeline.Search(p.ctx, timeline.Viewer{User: "@a:test"}, timeline.SearchRequest{Term: term, Filter: new(timeline.RoomEventFilter)})
			p.ok(err)
			var got []string
			for _, r := range resp.Results {
				var e struct {
					ID string `json:"event_id"`
				}
				p.ok(json.Unmarshal(r.Result, &e))
				got = append(got, e.ID)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%s: %q finds %q, not %q", what, term, got, ids)
			}
		}
	}
	finds("alone", edit)
	if x := p.checkWords(); len(x.Holes) != 1 || !x.Indexed(p.placeOf(edit)) {
		t.Fatalf("the index is %+v", x)
	}
	fill := func(events []string) {
		t.Helper()
		var ins []rooms.Incoming
		for _, eventID := range events {
			n := h.Nodes[eventID]
			ins = append(ins, p.incoming(n, &rooms.MissingError{Prev: n.Event().PrevEvents}))
		}
		n, err := p.rooms.Backfill(p.ctx, h.Room, ins)
		p.ok(err)
		if n != len(events) {
			t.Fatalf("%d of %d events are placed", n, len(events))
		}
	}
	fill(past[len(past)-2:])
	finds("with what it edits", kettle)
	if x := p.checkWords(); x.Indexed(p.placeOf(kettle)) {
		t.Fatalf("the index is %+v", x)
	}
	fill(past[:len(past)-2])
	finds("indexed", kettle)
	if x := p.checkWords(); !x.Indexed(p.placeOf(kettle)) {
		t.Fatalf("the index is %+v", x)
	}
}

// placeOf is the position of an event.
func (p *peer) placeOf(eventID string) timeline.Pos {
	p.t.Helper()
	index, err := p.timeline.Index(p.ctx, []string{eventID})
	p.ok(err)
	return index[eventID].Pos
}
