package stateres_test

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

// Whatever graph of events other servers send, the algorithms end, do not panic,
// take no longer than the graph is large, do not depend on the order of the
// states, and where the spec says what comes out, that comes out.
func FuzzArbitraryGraphs(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		data := make([]byte, 20+20*n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		data[0], data[1] = byte(n), byte(n/12*n)
		f.Add(data)
	}
	for version := range byte(12) {
		f.Add(ladder(version, 40))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 10_000 {
			return // it would only take longer
		}
		g := decode(t, data)
		got, stats, err := stateres.Resolve(g.Version, g.states, newCareful(t, g))
		if limit := g.size() * (15 + 2*bits.Len(uint(g.size()))); stats.Steps > limit {
			t.Errorf("%d steps for a graph of size %d: %+v", stats.Steps, g.size(), stats)
		}
		slices.Reverse(g.states)
		again, _, errAgain := stateres.Resolve(g.Version, g.states, g)
		if (err == nil) != (errAgain == nil) || !maps.Equal(got, again) {
			t.Errorf("the order of states matters:\n%v, %v\n%v, %v", got, err, again, errAgain)
		}
		if unknown := new(stateres.MissingError); err != nil && !errors.As(err, &unknown) {
			t.Fatal(err)
		}
		if !g.strange && len(g.Events) < 60 {
			want, missing := newReference(g.Version, g.Events).resolve(g.states)
			if missing != (err != nil) || !maps.Equal(got, want) {
				t.Errorf("%v\n got %v\nwant %v", err, got, want)
			}
		}
	})
}

// graph is events and states that need not obey any rule.
type graph struct {
	*staterestest.Room
	states []stateres.StateMap
	// strange: there are cycles, or events cite what no event may cite, of which
	// the spec says nothing.
	strange bool
}

// size is what a resolution may take time for: the events, the links between
// them, and the states, of which each may walk the chains where generations are
// not known.
func (g *graph) size() int {
	n := 10
	for _, e := range g.Events {
		n += 1 + len(e.AuthEvents)
	}
	for _, s := range g.states {
		n += len(s)
	}
	return n * (1 + len(g.states)/4)
}

// reader takes a graph's properties from bytes, and zeros after their end.
type reader []byte

func (r *reader) next(below int) int {
	if len(*r) == 0 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return int(b) % below
}

// What a graph may have.
const (
	unknowns = 1 << iota // auth events that nobody knows
	cycles
	topics // cited as auth events
)

// decode reads a graph: a room version, what it may have, a number of states, and
// events, of which each has a kind, a sender, flags, states that it is in, and
// auth events.
func decode(t *testing.T, data []byte) *graph {
	r := reader(data)
	all := roomversion.All()
	g := &graph{Room: staterestest.New(t, all[r.next(len(all))].ID)}
	may := r.next(8)
	base := g.Begin("bob", "carol")
	for range 1 + r.next(8) {
		s := maps.Clone(base)
		if r.next(8) == 0 {
			s = stateres.StateMap{}
		}
		g.states = append(g.states, s)
	}
	unset := map[string]bool{}
	var made []*auth.View
	var links [][]int
	for i := 0; len(r) > 0; i++ {
		e := g.Add(arbitrary(&r, i), stateres.StateMap{})
		flags := r.next(256)
		e.Rejected = flags&3 == 3
		unset[e.ID] = flags&12 == 12
		in := r.next(256)
		for i, s := range g.states {
			if in>>i&1 == 1 {
				s[e.Key()] = e.ID
			}
		}
		var cites []int
		for range r.next(8) {
			cites = append(cites, r.next(256))
		}
		made, links = append(made, e), append(links, cites)
	}
	before := len(g.Order) - len(made)
	for i, e := range made {
		for _, n := range links[i] {
			a := g.Order[n%(before+i)]
			switch {
			case n >= 250 && may&unknowns != 0:
				a = g.EventID("unknown")
			case n >= 240 && may&cycles != 0:
				a = g.Order[n*7%len(g.Order)]
			}
			if cited := g.Events[a]; cited != nil && cited.Type == "m.room.topic" {
				if may&topics == 0 {
					continue
				}
				g.strange = true
			}
			e.AuthEvents = append(e.AuthEvents, a)
		}
	}
	g.generations(unset)
	return g
}

// arbitrary is an event of a kind.
func arbitrary(r *reader, i int) staterestest.Event {
	user := fmt.Sprintf("@%s:x", people[r.next(3)])
	e := staterestest.Event{Name: fmt.Sprintf("%d-%d", r.next(10), i), Sender: user, Timestamp: int64(r.next(5))}
	switch r.next(12) {
	case 0:
		e.Type = "m.room.create"
	case 1, 2, 3:
		e.Type, e.Content = "m.room.power_levels", []string{`{"users":{"@bob:x":100}}`, `{"users":{"@alice:x":50,"@bob:x":50}}`, `{}`}[r.next(3)]
	case 4, 5:
		e.Type, e.Content = "m.room.join_rules", []string{`{"join_rule":"public"}`, `{"join_rule":"knock"}`}[r.next(2)]
	case 6, 7:
		e.Type, e.StateKey, e.Content = "m.room.member", user, []string{`{"membership":"join"}`, `{"membership":"leave"}`, `{}`}[r.next(3)]
	case 8, 9:
		e.Type, e.StateKey = "m.room.member", fmt.Sprintf("@%s:x", people[r.next(3)])
		e.Content = []string{`{"membership":"ban"}`, `{"membership":"leave"}`, `{"membership":"invite"}`}[r.next(3)]
	case 10:
		e.Type, e.StateKey = "m.room.third_party_invite", "token"
	default:
		e.Type = "m.room.topic"
	}
	return e
}

// generations sets them as a store does, except for events that it did not come
// to, and finds out whether there are cycles.
func (g *graph) generations(unset map[string]bool) {
	depth := map[string]int64{}
	var walk func(string) int64
	walk = func(id string) int64 {
		if n, ok := depth[id]; ok {
			if n < 0 {
				g.strange = true // on the way to itself
				return 0
			}
			return n
		}
		e := g.Events[id]
		if e == nil {
			return 0
		}
		depth[id] = -1
		highest, known := int64(0), !unset[id]
		for _, a := range e.AuthEvents {
			n := walk(a)
			highest, known = max(highest, n), known && n > 0
		}
		if depth[id] = 0; known {
			depth[id] = highest + 1
		}
		return depth[id]
	}
	for _, id := range g.Order {
		g.Events[id].Generation = walk(id)
	}
}

// ladder encodes events that each cite the two before: the number of paths
// doubles with each.
func ladder(version byte, n int) []byte {
	data := []byte{version, 0, 1, 1, 1}
	for i := range n {
		// user, name, time, kind, content; flags, states, auth events
		data = append(data, 0, byte(i), byte(i), 1, 2)
		data = append(data, 0, byte(1+i%2), 3, byte(5+i), byte(4+i), byte(3+i))
		if i > 0 {
			data[len(data)-5] = 1
		}
	}
	return data
}
