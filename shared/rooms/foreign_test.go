package rooms_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// peer feeds a history to a server as other servers would: what is missing is sent
// as missing events, or the state is told instead.
type peer struct {
	*server
	h *roomstest.History
	r *rand.Rand
	// tells is how many of ten times the state is told where events are missing.
	tells int
	// began says that the room began with a later event than its first here, so that
	// its past is missing.
	began bool
}

func feed(t *testing.T, h *roomstest.History, seed uint64, opt local.Options) *peer {
	p := &peer{server: open(t, opt), h: h, r: newRand(seed), tells: 4}
	p.ok(p.rooms.Keys.Import(p.ctx, roomstest.KeyLine("test")))
	return p
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// ok fails the test, or where the process was killed on purpose ends its work.
func (p *peer) ok(err error) {
	p.t.Helper()
	if errors.Is(err, local.ErrKilled) {
		panic(local.ErrKilled)
	}
	p.server.ok(err)
}

// begin makes the room known with its first event.
func (p *peer) begin() {
	p.t.Helper()
	v, err := p.rooms.Begin(p.ctx, p.h.Room, nil, rooms.Incoming{Received: p.h.Nodes[p.h.Order[0]].Received})
	p.ok(err)
	if v.Outcome != receipt.Accepted {
		p.t.Fatalf("the create event: %v", v.Err)
	}
}

// outlier makes an event and its auth chain known.
func (p *peer) outlier(eventID string) {
	p.t.Helper()
	n := p.h.Nodes[eventID]
	for range 3 {
		_, err := p.rooms.ReceiveOutlier(p.ctx, p.h.Room, rooms.Incoming{Received: n.Received})
		var m *rooms.MissingError
		if !errors.As(err, &m) {
			p.ok(err)
			return
		}
		for _, a := range m.Auth {
			p.outlier(a)
		}
	}
	p.t.Fatalf("%s is not taken as an outlier", eventID)
}

// incoming is an event with the states of which a MissingError said that they are
// needed.
func (p *peer) incoming(n *roomstest.Node, m *rooms.MissingError) rooms.Incoming {
	p.t.Helper()
	in := rooms.Incoming{Received: n.Received, After: map[string][]string{}}
	if m == nil {
		return in
	}
	for _, a := range m.Auth {
		p.outlier(a)
	}
	for _, prev := range m.Prev {
		in.After[prev] = roomstest.State(p.h.Nodes[prev].After)
		for _, eventID := range in.After[prev] {
			p.outlier(eventID)
		}
	}
	return in
}

// news sends an event.
func (p *peer) news(eventID string) receipt.Verdict {
	p.t.Helper()
	n := p.h.Nodes[eventID]
	var m *rooms.MissingError
	for range 30 {
		in := p.incoming(n, m)
		if m != nil && len(m.Prev) > 0 && p.r.IntN(10) >= p.tells {
			in.After = nil
			for _, prev := range m.Prev {
				p.news(prev)
			}
		}
		v, err := p.rooms.Receive(p.ctx, p.h.Room, in)
		if !errors.As(err, &m) {
			p.ok(err)
			if rejected := v.Outcome == receipt.Rejected; rejected != n.Rejected {
				p.t.Fatalf("%s: %v %v, and it is rejected: %v", eventID, v.Outcome, v.Err, n.Rejected)
			}
			return v
		}
	}
	p.t.Fatalf("%s always misses something: %v", eventID, m)
	return receipt.Verdict{}
}

// backfill sends all of the past, in parts and in any order.
func (p *peer) backfill() {
	p.t.Helper()
	all := slices.Clone(p.h.Order[1:])
	p.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for part := range slices.Chunk(all, 25) {
		var ins []rooms.Incoming
		for _, eventID := range part {
			ins = append(ins, rooms.Incoming{Received: p.h.Nodes[eventID].Received})
		}
		var m *rooms.MissingError
		for range 40 {
			_, err := p.rooms.Backfill(p.ctx, p.h.Room, ins)
			if !errors.As(err, &m) {
				p.ok(err)
				break
			}
			for i, in := range ins {
				var mine rooms.MissingError
				mine.Auth = m.Auth
				for _, prev := range in.Event().PrevEvents {
					if slices.Contains(m.Prev, prev) {
						mine.Prev = append(mine.Prev, prev)
					}
				}
				next := p.incoming(p.h.Nodes[in.Event().ID], &mine)
				if in.After != nil {
					maps.Copy(next.After, in.After)
				}
				ins[i] = next
			}
		}
	}
}

// check holds the room against the history.
func (p *peer) check(end *roomstest.Node) trie.Root {
	p.t.Helper()
	t, room := p.t, p.h.Room
	head, err := p.timeline.Head(p.ctx, room)
	p.ok(err)
	want, _, err := trie.Build(room, entries(end.After))
	p.ok(err)
	if head.CurrentRoot() != want || !head.RowsCurrent() {
		t.Errorf("the current state is %v, want %v", p.state(head.CurrentRoot()), end.After)
	}
	if len(head.Extremities) != 1 || head.Spilled != 0 || head.Extremities[0].ID != end.Event().ID {
		var ids []string
		for _, x := range head.Extremities {
			ids = append(ids, x.ID)
		}
		t.Errorf("the extremities are %v and %d more, not %s", ids, head.Spilled, end.Event().ID)
	}
	places := map[string]timeline.Pos{}
	var rows []*timeline.EventRow
	for it, err := range store.All(p.ctx, p.store.DB(), store.Query{Table: store.Rooms, Part: timeline.RoomPart(room), Consistency: store.Consistent}.Prefix("E#")) {
		p.ok(err)
		row, err := timeline.DecodeEvent(it)
		p.ok(err)
		if row.Kind == timeline.KindState {
			continue
		}
		if places[row.ID] != 0 {
			t.Errorf("%s has two positions", row.ID)
		}
		places[row.ID] = row.Pos
		rows = append(rows, row)
	}
	index, err := p.timeline.Index(p.ctx, p.h.Order)
	p.ok(err)
	for _, eventID := range p.h.Order {
		n, row := p.h.Nodes[eventID], index[eventID]
		switch {
		case row == nil:
			t.Errorf("%s is not known", eventID)
			continue
		case row.Pos != places[eventID]:
			t.Errorf("%s is at %s, its index says %s", eventID, places[eventID], row.Pos)
		case n.Rejected != (row.Status == timeline.Rejected):
			t.Errorf("%s has status %d, and it is rejected: %v", eventID, row.Status, n.Rejected)
		}
		if after, _, _ := trie.Build(room, entries(n.After)); row.Judged() && row.AfterRoot() != after {
			t.Errorf("the state after %s is %v, want %v", eventID, p.state(row.AfterRoot()), n.After)
		}
	}
	p.checkRows(head, end)
	p.checkRedactions(rows)
	p.checkRelations(rows)
	return head.CurrentRoot()
}

// checkRows compares the rows that show the current state, and the cursors.
func (p *peer) checkRows(head *timeline.Head, end *roomstest.Node) {
	p.t.Helper()
	room, t := p.h.Room, p.t
	shown, counted, joined := stateres.StateMap{}, map[string]int64{}, map[string]int64{}
	for it, err := range store.All(p.ctx, p.store.DB(), store.Query{Table: store.Rooms, Part: timeline.RoomPart(room), Consistency: store.Consistent}) {
		p.ok(err)
		kind, rest, _ := strings.Cut(it.Key.Sort, "#")
		switch kind {
		case "S":
			typ, key, _ := strings.Cut(rest, "#")
			shown[auth.Key{Type: typ, StateKey: key}] = it.Str("id")
		case "M":
			parts := strings.SplitN(rest, "#", 3)
			shown[auth.Key{Type: "m.room.member", StateKey: parts[2]}] = it.Str("id")
			if m := p.h.Membership(end, parts[2]); m != parts[1] {
				t.Errorf("%s is shown as %s, and is %s", parts[2], parts[1], m)
			}
		case "SRV":
			if n := it.Int("n"); n != 0 {
				counted[rest] = n
			}
		case "GAP":
			if !p.began {
				t.Errorf("there is a gap left: %v", it.Attrs)
			}
		}
	}
	if !maps.Equal(shown, end.After) {
		t.Errorf("the rows show %v, want %v", shown, end.After)
	}
	for k := range end.After {
		if k.Type == "m.room.member" && p.h.Membership(end, k.StateKey) == "join" {
			joined[id.Server(k.StateKey)]++
		}
	}
	for _, user := range p.h.Users() {
		m := p.h.Membership(end, user)
		if id.Server(user) != "test" {
			continue
		}
		c, err := p.log.Cursor(p.ctx, user, room)
		p.ok(err)
		if c.Membership != m && (m != "" || c.Membership != "leave") {
			t.Errorf("the cursor of %s says %q, the state %q", user, c.Membership, m)
		}
	}
	if !maps.Equal(joined, counted) {
		t.Errorf("servers are counted as %v, and are %v", counted, joined)
	}
}

// checkRedactions compares which events are redacted with which should be.
func (p *peer) checkRedactions(rows []*timeline.EventRow) {
	p.t.Helper()
	redacted := map[string]bool{}
	for _, row := range rows {
		e, err := row.Event()
		p.ok(err)
		target := p.h.Nodes[e.Redacts]
		if e.Type != "m.room.redaction" || target == nil {
			continue
		}
		state := auth.StateMap{}
		for k, eventID := range p.h.Nodes[row.ID].Before {
			state[k] = p.h.Nodes[eventID].View()
		}
		if p.h.Version.RedactionRule || auth.Levels(p.h.Version, state).MayRedact(e.Sender, target.Event().Sender) {
			redacted[e.Redacts] = true
		}
	}
	for _, row := range rows {
		if (row.Redacted != "") != redacted[row.ID] {
			p.t.Errorf("%s is redacted by %q, and should be redacted: %v", row.ID, row.Redacted, redacted[row.ID])
		}
	}
}

func (p *peer) state(r trie.Root) map[trie.Key]string {
	p.t.Helper()
	m := map[trie.Key]string{}
	p.ok(trie.Walk(p.ctx, p.timeline.Loader(p.h.Room), p.h.Room, r, trie.WalkAll, func(e trie.Entry) bool { m[e.Key] = e.EventID; return true }))
	return m
}

func keys(s stateres.StateMap) map[trie.Key]string {
	m := map[trie.Key]string{}
	for k, eventID := range s {
		m[trie.Key(k)] = eventID
	}
	return m
}

func entries(s stateres.StateMap) (all []trie.Entry) {
	for k, eventID := range s {
		all = append(all, trie.Entry{Key: trie.Key(k), EventID: eventID})
	}
	return all
}

// Two servers that hear of a room's history in different orders, some of it twice,
// some of it as the past of what they have, end with the same room.
func TestServersThatHearInDifferentOrdersAgree(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 1
	}
	for _, v := range roomversion.All() {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprintf("v%s/%d", v.ID, seed), func(t *testing.T) {
				h := roomstest.New(t, v.ID, seed, "one", "two", "test")
				h.Grow(60)
				end := h.End()
				var roots []trie.Root
				for i := range uint64(2) {
					p := feed(t, h, seed*2+i, local.NewMemory().Options())
					p.begin()
					order := slices.Concat(h.Order, h.Order[len(h.Order)/2:]) // some twice
					p.r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
					for _, eventID := range order {
						p.news(eventID)
					}
					// What was not allowed by what was known may have turned out right.
					for _, eventID := range h.Order {
						p.news(eventID)
					}
					p.backfill()
					roots = append(roots, p.check(end))
					if t.Failed() {
						return
					}
				}
				if roots[0] != roots[1] {
					t.Errorf("the states are %s and %s", roots[0], roots[1])
				}
			})
		}
	}
}
