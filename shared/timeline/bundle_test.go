package timeline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// relate sends a message that relates to another.
func (s *server) relate(room, user, relType, parent, key string) (rooms.Sent, error) {
	content, err := json.Marshal(map[string]any{
		"body": "related", "m.new_content": map[string]any{"body": "related"},
		"m.relates_to": map[string]any{"rel_type": relType, "event_id": parent, "key": key},
	})
	s.ok(err)
	return s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: user, Content: content})
}

// aggregated returns what is told of an event's children, and what that cost.
func (s *server) aggregated(user, room, eventID string) (json.RawMessage, store.Capacity) {
	s.t.Helper()
	var m store.Meter
	e, err := s.timeline.OneEvent(store.WithMeter(s.ctx, &m), viewer(user), room, eventID)
	s.ok(err)
	return canonicaljson.Get(e, "unsigned", "m.relations"), m.Total()
}

// What has no children that are aggregated is served as if there were none at all.
func TestEventsWithoutAggregationsCostNoFurtherRead(t *testing.T) {
	s := open(t)
	room := s.create()
	var ids []string
	for i := range 20 {
		ids = append(ids, s.say(room, alice, fmt.Sprint(i)))
	}
	cost := func() store.Capacity {
		var m store.Meter
		f, err := timeline.ParseRoomEventFilter("")
		s.ok(err)
		_, err = s.timeline.Messages(store.WithMeter(s.ctx, &m), viewer(alice), timeline.MessagesRequest{Room: room, Limit: 20, Filter: f})
		s.ok(err)
		return m.Total()
	}
	before := cost()
	for _, eventID := range ids {
		_, err := s.relate(room, alice, "m.annotation", eventID, "+1")
		s.ok(err)
	}
	if after := cost(); after != before {
		t.Errorf("a page costs %v without annotations, and %v with them", before, after)
	}
}

// What is told of an event does not cost more the more there is of it.
func TestBundlesOfLongThreadsCostAsMuchAsThoseOfShortOnes(t *testing.T) {
	s := open(t)
	room := s.create()
	root := s.say(room, alice, "root")
	grow := func(n int) {
		for range n {
			_, err := s.relate(room, alice, "m.thread", root, "")
			s.ok(err)
			_, err = s.relate(room, alice, "m.replace", root, "")
			s.ok(err)
		}
	}
	grow(25)
	_, short := s.aggregated(alice, room, root)
	grow(150)
	b, long := s.aggregated(alice, room, root)
	if n, _ := canonicaljson.Int(canonicaljson.Get(b, "m.thread", "count")); n != 175 {
		t.Errorf("the thread has %d events", n)
	}
	if long != short || long.Reads > 14 {
		t.Errorf("an event with 25 replies and edits costs %v, one with 175 costs %v", short, long)
	}
}

// Replies that are sent at once, which share transactions, are all counted.
func TestThreadsCountWhatIsSentAtOnce(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	roots := []string{s.say(room, alice, "one"), s.say(room, alice, "two"), s.say(room, alice, "three")}
	const each = 60
	var wg sync.WaitGroup
	errs := make(chan error, 3*each)
	for i := range each {
		for _, root := range roots {
			wg.Go(func() {
				_, err := s.relate(room, []string{alice, bob}[i%2], []string{"m.thread", "m.thread", "m.replace"}[i%3], root, "")
				errs <- err
			})
		}
	}
	wg.Wait()
	for range cap(errs) {
		s.ok(<-errs)
	}
	for _, root := range roots {
		b, _ := s.aggregated(bob, room, root)
		if n, _ := canonicaljson.Int(canonicaljson.Get(b, "m.thread", "count")); n != each*2/3 {
			t.Errorf("a thread of %d events is said to have %d", each*2/3, n)
		}
	}
	resp, err := s.timeline.Threads(s.ctx, viewer(bob), timeline.ThreadsRequest{Room: room, Limit: 10})
	s.ok(err)
	if len(resp.Chunk) != len(roots) || resp.NextBatch != "" {
		t.Errorf("%d threads are listed", len(resp.Chunk))
	}
}

// The most recent edit is that with the latest time, whichever came last, and of two
// of one time that with the larger id.
func TestTheMostRecentEditIsBundled(t *testing.T) {
	s := open(t)
	room := s.create()
	root := s.say(room, alice, "root")
	edit := func(ts int64) string {
		sent, err := s.rooms.Send(s.ctx, room, rooms.Draft{
			Type: "m.room.message", Sender: alice, OriginServerTS: ts,
			Content: json.RawMessage(`{"m.new_content":{},"m.relates_to":{"rel_type":"m.replace","event_id":"` + root + `"}}`),
		})
		s.ok(err)
		return sent.ID
	}
	bundled := func() string {
		b, _ := s.aggregated(alice, room, root)
		eventID, _ := canonicaljson.String(canonicaljson.Get(b, "m.replace", "event_id"))
		return eventID
	}
	for _, ts := range []int64{200, 1000} { // not in the order of their digits
		want := edit(ts)
		edit(ts - 150)
		if got := bundled(); got != want {
			t.Errorf("the edit of %d is not bundled, but %s", ts, got)
		}
	}
	if a, b := edit(2000), edit(2000); bundled() != max(a, b) {
		t.Errorf("of %s and %s, %s is bundled", a, b, bundled())
	}
}

// Children of one kind among many of another are found page by page.
func TestPagesOfRelationsMeet(t *testing.T) {
	s := open(t)
	room := s.create()
	root := s.say(room, alice, "root")
	var want []string
	for i := range 130 {
		sent, err := s.relate(room, alice, "m.annotation", root, fmt.Sprint(i))
		s.ok(err)
		if i%40 == 0 {
			sent, err = s.relate(room, alice, "org.example.rare", root, "")
			s.ok(err)
			want = append(want, sent.ID)
		}
		if i%30 == 0 {
			// It relates to the root by way of an annotation, which is not asked for.
			_, err = s.relate(room, alice, "org.example.rare", sent.ID, "")
			s.ok(err)
		}
	}
	for _, backwards := range []bool{false, true} {
		for _, limit := range []int{1, 2, 3, 4, 5, 100} {
			var got []string
			req := timeline.RelationsRequest{Room: room, EventID: root, RelType: "org.example.rare", Backwards: backwards, Limit: limit}
			for first := true; first || req.From != ""; first = false {
				resp, err := s.timeline.Relations(s.ctx, viewer(alice), req)
				s.ok(err)
				for _, e := range resp.Chunk {
					eventID, _ := canonicaljson.String(canonicaljson.Get(e, "event_id"))
					got = append(got, eventID)
				}
				if len(resp.Chunk) > limit {
					t.Fatalf("%d events are more than %d", len(resp.Chunk), limit)
				}
				req.From = resp.NextBatch
			}
			if backwards {
				slices.Reverse(got)
			}
			s.same(fmt.Sprintf("by %d, backwards %v", limit, backwards), got, want)
		}
	}
	resp, err := s.timeline.Relations(s.ctx, viewer(alice), timeline.RelationsRequest{Room: room, EventID: root, RelType: "org.example.rare", Limit: 100, Recurse: true})
	s.ok(err)
	if len(resp.Chunk) != len(want)+2 { // two relate to a rare one themselves: at 0 and 120
		t.Errorf("%d descendants are found, not %d", len(resp.Chunk), len(want)+2)
	}
}
