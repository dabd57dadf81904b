package timeline_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/words"
)

// searching is a world in which people talk, and what a client would find that has
// read all of it.
type searching struct {
	*server
	r     *rand.Rand
	rooms []string
	// sent are the messages of each room, and edits those that are edits.
	sent  map[string][]sentMessage
	edits map[string]bool
	// read is what users see of rooms, until something else happens.
	read map[[2]string][]json.RawMessage
}

type sentMessage struct{ id, sender string }

var vocabulary = strings.Fields("tea coffee milk sugar Straße strasse TEA 東京 京都 🍵 кофе it's a the of")

func (w *searching) text() string {
	var list []string
	for range 1 + w.r.IntN(5) {
		// Some words are far rarer than others.
		list = append(list, vocabulary[w.r.IntN(1+w.r.IntN(len(vocabulary)))])
	}
	return strings.Join(list, " ")
}

// talk does something at random. What a user may not do does nothing.
func (w *searching) talk() {
	w.t.Helper()
	w.read = map[[2]string][]json.RawMessage{}
	room := w.rooms[w.r.IntN(1+w.r.IntN(len(w.rooms)))] // the first most often
	user := []string{alice, bob, carol}[w.r.IntN(3)]
	switch n := w.r.IntN(42); {
	case n < 26:
		if sent, err := w.server.rooms.Send(w.ctx, room, message(user, w.text())); err == nil {
			w.sent[room] = append(w.sent[room], sentMessage{sent.ID, user})
		}
	case n < 31 && len(w.sent[room]) > 0:
		old := w.sent[room][w.r.IntN(len(w.sent[room]))]
		text := w.text()
		d := rooms.Draft{Type: "m.room.message", Sender: old.sender, Content: json.RawMessage(fmt.Sprintf(
			`{"msgtype":"m.text","body":%q,"m.new_content":{"msgtype":"m.text","body":%q},"m.relates_to":{"rel_type":"m.replace","event_id":%q}}`,
			"* "+text, text, old.id))}
		if sent, err := w.server.rooms.Send(w.ctx, room, d); err == nil {
			w.edits[sent.ID] = true
			if w.r.IntN(4) == 0 {
				_, _ = w.server.rooms.Redact(w.ctx, room, sent.ID, "", old.sender, rooms.Txn{})
			}
		}
	case n < 33 && len(w.sent[room]) > 0:
		old := w.sent[room][w.r.IntN(len(w.sent[room]))]
		_, _ = w.server.rooms.Redact(w.ctx, room, old.id, "", old.sender, rooms.Txn{})
	case n < 35:
		typ, key := "m.room.name", "name"
		if n == 34 {
			typ, key = "m.room.topic", "topic"
		}
		empty := ""
		_, _ = w.server.rooms.SetState(w.ctx, room, rooms.Draft{Type: typ, StateKey: &empty, Sender: alice, Content: json.RawMessage(fmt.Sprintf(`{%q:%q}`, key, w.text()))})
	case n < 37:
		_ = w.server.rooms.Leave(w.ctx, user, room, "")
	default:
		_ = w.server.rooms.Join(w.ctx, user, room, "")
	}
	if w.r.IntN(3) > 0 {
		w.deliver(room)
	}
}

type foundEvent struct {
	event
	Time int64 `json:"origin_server_ts"`
}

// naive reads the whole history of the rooms as the user sees it.
func (w *searching) naive(user, term string, in []string, keys []string) map[string]foundEvent {
	w.t.Helper()
	q, all := words.ParseQuery(term), map[string]foundEvent{}
	for _, room := range in {
		seen, ok := w.read[[2]string{user, room}]
		if !ok {
			seen = w.all(user, room, 500)
			w.read[[2]string{user, room}] = seen
		}
		for _, raw := range seen {
			var e foundEvent
			w.ok(json.Unmarshal(raw, &e))
			key := map[string]string{"m.room.message": "body", "m.room.name": "name", "m.room.topic": "topic"}[e.Type]
			if key == "" || w.edits[e.ID] || keys != nil && !slices.Contains(keys, "content."+key) {
				continue
			}
			text, _ := e.Content[key].(string)
			var bundled struct {
				Unsigned struct {
					Relations struct {
						Replace struct {
							Content struct {
								New struct{ Body string } `json:"m.new_content"`
							}
						} `json:"m.replace"`
					} `json:"m.relations"`
				}
			}
			w.ok(json.Unmarshal(raw, &bundled))
			if edit := bundled.Unsigned.Relations.Replace.Content.New.Body; edit != "" {
				text = edit
			}
			if _, ok := q.Match(text); ok {
				all[e.ID] = e
			}
		}
	}
	return all
}

// pages searches to the end, and returns what was found in its order.
func (s *server) pages(user string, req timeline.SearchRequest) (found []foundEvent, ranks []float64, pages []*timeline.SearchResponse) {
	s.t.Helper()
	for {
		resp, err := s.timeline.Search(s.ctx, viewer(user), req)
		s.ok(err)
		for _, r := range resp.Results {
			var e foundEvent
			s.ok(json.Unmarshal(r.Result, &e))
			found, ranks = append(found, e), append(ranks, r.Rank)
		}
		if pages = append(pages, resp); resp.Next == "" {
			return found, ranks, pages
		}
		if req.From = resp.Next; len(pages) > 2000 {
			s.t.Fatal("the search has no end")
		}
	}
}

func limited(n int) *timeline.RoomEventFilter {
	return &timeline.RoomEventFilter{EventFilter: timeline.EventFilter{Limit: &n}}
}

// compare compares what was found with what there is.
func (s *server) compare(what string, found []foundEvent, want map[string]foundEvent) {
	s.t.Helper()
	seen := map[string]bool{}
	for _, e := range found {
		if seen[e.ID] {
			s.t.Errorf("%s: %s (%s) is found twice", what, e.ID, e.short())
		}
		if seen[e.ID] = true; want[e.ID].ID == "" {
			s.t.Errorf("%s: %s (%s) is found", what, e.ID, e.short())
		}
	}
	for id, e := range want {
		if !seen[id] {
			s.t.Errorf("%s: %s (%s) is not found", what, id, e.short())
		}
	}
}

// TestSearchesFindWhatALookAtAllFinds talks at random in rooms of several
// visibilities, with edits, redactions, people who come and go and one who is ignored,
// and compares searches with reading everything.
func TestSearchesFindWhatALookAtAllFinds(t *testing.T) {
	for seed := range uint64(2) {
		w := &searching{server: open(t), r: rand.New(rand.NewPCG(seed, 9)), sent: map[string][]sentMessage{}, edits: map[string]bool{}}
		for _, v := range []string{"shared", "joined", "invited"} {
			room := w.create(visibility(v))
			w.join(room, bob, carol)
			w.rooms = append(w.rooms, room)
		}
		for n := range 1500 {
			w.talk()
			if n == 800 {
				w.ok(w.accounts.SetAccountData(w.ctx, bob, "", "m.ignored_user_list", json.RawMessage(`{"ignored_users":{"`+carol+`":{}}}`)))
			}
			if n%500 < 498 {
				continue
			}
			user := []string{alice, bob, carol}[w.r.IntN(3)]
			terms := []string{"tea", "STRASSE", "京", "東京 tea", "🍵", "of", "кофе milk", "nothing", "the tea a"}
			for range 4 {
				w.searches(user, terms[w.r.IntN(len(terms))])
			}
		}
		x, err := w.timeline.WordIndex(w.ctx, w.rooms[0])
		if w.ok(err); len(x.Young) == 0 || x.Young[0].Docs < timeline.MiddleRun {
			t.Errorf("the index is %+v: not much was found in it", x)
		}
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// searches compares all ways to search for a term.
func (w *searching) searches(user, term string) {
	w.t.Helper()
	want := w.naive(user, term, w.rooms, nil)
	limit := []int{3, 11, 50}[w.r.IntN(3)]
	req := timeline.SearchRequest{Term: term, Recent: true, Filter: limited(limit)}
	what := fmt.Sprintf("%s for %q by %d", user, term, limit)
	found, _, pages := w.pages(user, req)
	w.compare(what, found, want)
	for i := 1; i < len(found); i++ {
		if found[i-1].Time < found[i].Time {
			w.t.Errorf("%s: an older result is before a newer one", what)
		}
	}
	for i, p := range pages {
		if p.Next != "" && len(p.Results) != limit {
			w.t.Errorf("%s: page %d has %d results", what, i, len(p.Results))
		}
	}
	req.Recent = false
	found, ranks, _ := w.pages(user, req)
	w.compare(what+" ranked", found, want)
	if len(found) <= 100 && !slices.IsSortedFunc(ranks, func(a, b float64) int { return int((b - a) * 1e6) }) {
		w.t.Errorf("%s: the ranks are %v", what, ranks)
	}
	if len(found) < 100 && len(found) > 0 {
		if got, err := w.timeline.Search(w.ctx, viewer(user), req); err != nil || got.Count < int64(len(found)) {
			w.t.Errorf("%s: %d are found, and counted as %d, %v", what, len(found), got.Count, err)
		}
	}
	// Parts of it.
	key := []string{"content.body", "content.name", "content.topic"}[w.r.IntN(3)]
	req.Keys = []string{key}
	found, _, _ = w.pages(user, req)
	w.compare(what+" in "+key, found, w.naive(user, term, w.rooms, req.Keys))
	req.Keys = nil
	room, sender := w.rooms[w.r.IntN(len(w.rooms))], []string{alice, bob, carol}[w.r.IntN(3)]
	for _, recent := range []bool{true, false} {
		req.Recent = recent
		req.Filter = limited(limit)
		req.Filter.Rooms = []string{room}
		found, _, _ = w.pages(user, req)
		w.compare(what+" in a room", found, w.naive(user, term, []string{room}, nil))
		req.Filter = limited(limit)
		req.Filter.Senders = []string{sender}
		found, _, _ = w.pages(user, req)
		by := maps.Clone(want)
		maps.DeleteFunc(by, func(_ string, e foundEvent) bool { return e.Sender != sender })
		w.compare(what+" of "+sender, found, by)
		req.Filter = limited(limit)
		w.groups(what, user, req, want)
	}
}

// groups follows the tokens of a group.
func (w *searching) groups(what, user string, req timeline.SearchRequest, want map[string]foundEvent) {
	w.t.Helper()
	req.GroupBy = []string{"room_id", "sender"}
	first, err := w.timeline.Search(w.ctx, viewer(user), req)
	w.ok(err)
	for _, key := range req.GroupBy {
		total := 0
		for value, g := range first.Groups[key] {
			total += len(g.Results)
			ids := slices.Clone(g.Results)
			if g.Next != "" {
				more := req
				more.From = g.Next
				found, _, _ := w.pages(user, more)
				for _, e := range found {
					ids = append(ids, e.ID)
				}
			}
			in := maps.Clone(want)
			maps.DeleteFunc(in, func(_ string, e foundEvent) bool { return e.Room != value && e.Sender != value })
			slices.Sort(ids)
			if got := slices.Sorted(maps.Keys(in)); !slices.Equal(ids, got) {
				w.t.Errorf("%s (recent: %v): %d in the group %s, and %d there are", what, req.Recent, len(ids), value, len(got))
			}
		}
		if total != len(first.Results) {
			w.t.Errorf("%s: groups of %s have %d of %d results", what, key, total, len(first.Results))
		}
	}
}

// TestALongRoomIsSearchedCheaply fills runs up to the largest, and counts what a
// message costs in the index and what a search costs.
func TestALongRoomIsSearchedCheaply(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of messages")
	}
	s := open(t)
	room := s.create(visibility("joined"))
	s.join(room, bob)
	s.say(room, alice, "hay for bob")
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	const n = 3 * timeline.FullRun
	var writing store.Meter
	r, ctx := rand.New(rand.NewPCG(3, 3)), s.ctx
	for i := range n {
		body := "hay"
		for range 10 {
			body += fmt.Sprintf(" word%d", int(r.ExpFloat64()*300))
		}
		if i%1000 == 7 {
			body += " needle"
		}
		_, err := s.rooms.Send(ctx, room, message(alice, body))
		s.ok(err)
		if i%16 == 15 {
			s.ctx = store.WithMeter(ctx, &writing)
			s.deliver(room)
			s.ctx = ctx
		}
	}
	if per := writing.Tables()["events"].Writes / n; per > 0.35 || per == 0 {
		t.Errorf("the index costs %.2f write units a message", per)
	}
	x, err := s.timeline.WordIndex(s.ctx, room)
	if s.ok(err); len(x.Full) == 0 {
		t.Errorf("no run is full: %+v", x)
	}
	var cost *store.Meter
	meter := func() {
		cost = new(store.Meter)
		s.ctx = store.WithMeter(ctx, cost)
	}
	// What is rare is found by a look at each run.
	meter()
	found, _, _ := s.pages(alice, timeline.SearchRequest{Term: "needle", Recent: true, Filter: limited(50)})
	if c := cost.Total(); len(found) != (n+992)/1000 || c.Reads > 60 {
		t.Errorf("%d are found, with %s", len(found), c)
	}
	// What is frequent is found at the end, without a look at all that is before.
	meter()
	resp, err := s.timeline.Search(s.ctx, viewer(alice), timeline.SearchRequest{Term: "word1", Recent: true, Filter: limited(10)})
	s.ok(err)
	if c := cost.Total(); len(resp.Results) != 10 || c.Reads > 40 || resp.Next == "" || resp.Count < 100 || resp.Count > 1000 {
		t.Errorf("%d results of %d, with %s", len(resp.Results), resp.Count, c)
	}
	// Where there are many full runs, the older ones have rows of their own. It takes
	// too long to fill them, so some are there twice.
	for len(x.Full) < timeline.OldPack-1 {
		x.Full = append(x.Full, x.Full[0])
	}
	_, err = s.db.Write(ctx, store.Put(store.Events, timeline.WordIndexKey(room), x.Encode()))
	s.ok(err)
	for i := range timeline.FullRun {
		_, err := s.rooms.Send(ctx, room, message(alice, "hay"))
		if s.ok(err); i%64 == 63 {
			s.deliver(room)
		}
	}
	x, err = s.timeline.WordIndex(ctx, room)
	if s.ok(err); x.Old != 1 || len(x.Full) != 0 {
		t.Errorf("the index is %+v", x)
	}
	if found, _, _ = s.pages(alice, timeline.SearchRequest{Term: "needle", Recent: true, Filter: limited(50)}); len(found) != (n+992)/1000 {
		t.Errorf("%d are found in old runs", len(found))
	}
	// Where all that has the word may not be seen, pages end for all that.
	s.join(room, bob)
	for _, recent := range []bool{true, false} {
		var bodies []string
		from, pages := "", 0
		for ; pages == 0 || from != ""; pages++ {
			meter()
			resp, err := s.timeline.Search(s.ctx, viewer(bob), timeline.SearchRequest{Term: "hay", Recent: recent, Filter: limited(10), From: from})
			s.ok(err)
			for _, r := range resp.Results {
				bodies = append(bodies, s.bodies([]json.RawMessage{r.Result})...)
			}
			if c := cost.Total(); c.Reads > 1800 {
				t.Errorf("a page takes %s", c)
			}
			from = resp.Next
		}
		if s.same("what bob finds", bodies, []string{"hay for bob"}); pages < 3 || pages > 12 {
			t.Errorf("there are %d pages", pages)
		}
	}
	// Nor does a token make a page dearer that no page had.
	for _, forged := range []token.Search{
		{Ranked: true, Bottom: token.Place{Pos: 1}},
		{Ranked: true, Bottom: token.Place{Pos: 1}, Last: token.Place{Time: 1}, LastRank: 1},
		{Ranked: true, Top: token.Place{Time: 1 << 60}, Bottom: token.Place{Time: -5, Pos: 3}, Shown: 7},
	} {
		for _, user := range []string{alice, bob} {
			meter()
			_, err := s.timeline.Search(s.ctx, viewer(user), timeline.SearchRequest{Term: "hay", Filter: limited(10), From: forged.String()})
			if s.ok(err); cost.Total().Reads > 3500 {
				t.Errorf("with %+v a page takes %s", forged, cost.Total())
			}
		}
	}
	s.ctx = ctx
}

// TestRunsAreDeletedInOrder: a look-up takes the row with the largest name that is not
// above the word, so that no row may be gone before those below it.
func TestRunsAreDeletedInOrder(t *testing.T) {
	var mu sync.Mutex
	written, deleted := map[string]bool{}, map[string]string{}
	inOrder := 0
	opt := local.NewMemory().Options()
	opt.Fault = func(c local.Call) local.Fault {
		mu.Lock()
		defer mu.Unlock()
		for _, ref := range c.Refs {
			name, is := strings.CutPrefix(ref.Key.Sort, "R#")
			if !is || !c.Writes || ref.Table != store.Events {
				continue
			}
			run, row, _ := strings.Cut(name, "#")
			if !written[name] {
				written[name] = true
				continue
			}
			if row <= deleted[run] {
				t.Errorf("of the run %s the row %s is deleted after %s", run, row, deleted[run])
			}
			deleted[run] = row
			inOrder++
		}
		return local.NoFault
	}
	s := openWith(t, opt, clock.System{})
	room := s.create()
	for i := range timeline.MiddleRun + 3*timeline.IndexStep {
		body := ""
		for j := range 100 {
			body += fmt.Sprintf("word%d ", (i*i+j*37)%5000)
		}
		s.say(room, alice, body)
	}
	if inOrder < 20 {
		t.Errorf("%d rows were deleted", inOrder)
	}
}

// TestManyRoomsAreSearchedInTurn searches more rooms than a page looks at.
func TestManyRoomsAreSearchedInTurn(t *testing.T) {
	s := open(t)
	want := map[string]foundEvent{}
	for range 310 {
		room := s.create()
		id := s.say(room, alice, "hay")
		want[id] = foundEvent{event: event{ID: id}}
		if len(want)%3 == 0 {
			s.ok(s.rooms.Leave(s.ctx, alice, room, ""))
		}
	}
	for _, recent := range []bool{true, false} {
		for _, limit := range []int{7, 50} {
			req := timeline.SearchRequest{Term: "hay", Recent: recent, Filter: limited(limit), GroupBy: []string{"sender"}}
			found, _, pages := s.pages(alice, req)
			s.compare(fmt.Sprintf("recent: %v, by %d", recent, limit), found, want)
			req.From = pages[0].Groups["sender"][alice].Next
			rest, _, _ := s.pages(alice, req)
			s.compare("the group", append(found[:limit:limit], rest...), want)
		}
	}
	var cost store.Meter
	_, err := s.timeline.Search(store.WithMeter(s.ctx, &cost), viewer(alice), timeline.SearchRequest{Term: "hay", Filter: limited(10)})
	if s.ok(err); cost.Total().Reads > 2000 {
		t.Errorf("a page takes %s", cost.Total())
	}
	t.Logf("a page takes %s", cost.Total())
}

// TestSearchesWhileTheIndexChanges searches while two processes index what others
// say: whatever was acknowledged before the search began is found, once.
func TestSearchesWhileTheIndexChanges(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	var mu sync.Mutex
	var said []string
	var wg sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		other := rooms.New(s.rooms.Options)
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := other.Dispatch(s.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		defer close(over)
		for i := range 3 * timeline.MiddleRun {
			body := fmt.Sprint("hay ", i)
			if i%8 == 0 {
				body = "needle"
			}
			sent, err := s.rooms.Send(s.ctx, room, message(alice, body))
			if err != nil {
				t.Error(err)
			}
			if i%8 == 0 {
				mu.Lock()
				said = append(said, sent.ID)
				mu.Unlock()
			}
		}
	})
	for going := true; going; {
		select {
		case <-over:
			going = false
		default:
		}
		mu.Lock()
		want := slices.Clone(said)
		mu.Unlock()
		found, _, _ := s.pages(bob, timeline.SearchRequest{Term: "needle", Recent: true, Filter: limited(20)})
		ids := map[string]int{}
		for _, e := range found {
			ids[e.ID]++
		}
		for _, id := range want {
			if ids[id] != 1 {
				t.Errorf("of %d, %s is found %d times", len(want), id, ids[id])
			}
		}
	}
	wg.Wait()
	s.deliver(room)
	x, err := s.timeline.WordIndex(s.ctx, room)
	if s.ok(err); len(x.Young) < 2 || x.Young[1].Docs < timeline.MiddleRun {
		t.Errorf("the index is %+v", x)
	}
}
