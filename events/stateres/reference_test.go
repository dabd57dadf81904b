package stateres_test

import (
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// reference is the algorithms of all versions written from the spec's text, one
// definition after the other, without any thought of speed. It shares no code
// with the package but the auth rules.
type reference struct {
	v      *roomversion.Version
	events map[string]*auth.View
	chains map[string]set // as far as they were asked for

	// Where the letter of the spec and the servers that there are differ, the
	// reference can do both.
	//
	// literal: a state event is not in the full auth chain of its own state.
	literal bool
	// through: the auth chain of a power event is followed through events that
	// are not in the full conflicted set.
	through bool
}

type set map[string]bool

func newReference(v *roomversion.Version, events map[string]*auth.View) *reference {
	return &reference{v: v, events: events, chains: map[string]set{}}
}

func (r *reference) authEvents(id string) []string {
	if e := r.events[id]; e != nil {
		return e.AuthEvents
	}
	return nil
}

// authChain is the events reachable by walking the graph induced by an event's
// auth_events links.
func (r *reference) authChain(id string) set {
	if chain := r.chains[id]; chain != nil {
		return chain
	}
	chain := set{}
	todo := slices.Clone(r.authEvents(id))
	for len(todo) > 0 {
		a := todo[0]
		todo = todo[1:]
		if !chain[a] {
			chain[a] = true
			todo = append(todo, r.authEvents(a)...)
		}
	}
	r.chains[id] = chain
	return chain
}

// unconflicted is the unconflicted state map, and the conflicted state set.
func (r *reference) unconflicted(states []stateres.StateMap) (stateres.StateMap, set) {
	agreed, conflicted := stateres.StateMap{}, set{}
	for _, s := range states {
		for k, id := range s {
			same := true
			for _, other := range states {
				same = same && other[k] == id
			}
			if same {
				agreed[k] = id
			} else {
				conflicted[id] = true
			}
		}
	}
	return agreed, conflicted
}

func (r *reference) authDifference(states []stateres.StateMap) set {
	in := map[string]int{}
	for _, s := range states {
		full := set{}
		for _, id := range s {
			maps.Copy(full, r.authChain(id))
			if !r.literal {
				full[id] = true
			}
		}
		for id := range full {
			in[id]++
		}
	}
	difference := set{}
	for id, n := range in {
		if n < len(states) {
			difference[id] = true
		}
	}
	return difference
}

// subgraph is the union of the paths between any two conflicted events.
func (r *reference) subgraph(conflicted set) set {
	sub := set{}
	for from := range conflicted {
		for to := range conflicted {
			for id := range r.authChain(from) {
				if r.authChain(id)[to] || id == to {
					sub[from], sub[id], sub[to] = true, true, true
				}
			}
		}
	}
	return sub
}

func (r *reference) isPowerEvent(id string) bool {
	e := r.events[id]
	switch e.Type {
	case "m.room.power_levels", "m.room.join_rules":
		return true
	case "m.room.member":
		m := e.Content.Membership
		return (m == "leave" || m == "ban") && e.Sender != e.StateKey
	}
	return false
}

// resolve resolves states. missing is an event that it needs and does not have.
func (r *reference) resolve(states []stateres.StateMap) (resolved stateres.StateMap, missing bool) {
	if r.v.StateRes == roomversion.StateResV1 {
		return r.resolveV1(states)
	}
	agreed, conflicted := r.unconflicted(states)
	if len(conflicted) == 0 {
		return agreed, false
	}
	full := set{}
	maps.Copy(full, conflicted)
	maps.Copy(full, r.authDifference(states))
	if r.v.StateRes == roomversion.StateResV21 {
		maps.Copy(full, r.subgraph(conflicted))
	}
	for id := range full {
		if r.events[id] == nil {
			return nil, true
		}
	}

	// 1
	x := set{}
	for id := range full {
		if r.isPowerEvent(id) {
			r.enlarge(x, id, full)
		}
	}
	// 2
	state := stateres.StateMap{}
	if r.v.StateRes == roomversion.StateResV2 {
		maps.Copy(state, agreed)
	}
	r.iterate(state, r.powerOrder(x))
	// 3
	var rest []string
	for id := range full {
		if !x[id] {
			rest = append(rest, id)
		}
	}
	r.mainlineOrder(rest, state[auth.Key{Type: "m.room.power_levels"}])
	// 4
	r.iterate(state, rest)
	// 5
	maps.Copy(state, agreed)
	return state, false
}

// enlarge adds to x a power event and the events of its auth chain that are in
// the full conflicted set.
func (r *reference) enlarge(x set, p string, full set) {
	if r.through {
		x[p] = true
		for id := range r.authChain(p) {
			if full[id] {
				x[id] = true
			}
		}
		return
	}
	if x[p] {
		return
	}
	x[p] = true
	for _, id := range r.authEvents(p) {
		if full[id] {
			r.enlarge(x, id, full)
		}
	}
}

// powerOrder is the reverse topological power ordering, by Kahn's algorithm.
func (r *reference) powerOrder(x set) []string {
	var order []string
	for done := (set{}); len(done) < len(x); {
		best := ""
		for id := range x {
			ready := !done[id]
			for _, a := range r.authEvents(id) {
				ready = ready && (!x[a] || done[a])
			}
			if ready && (best == "" || r.powerLess(id, best)) {
				best = id
			}
		}
		done[best] = true
		order = append(order, best)
	}
	return order
}

func (r *reference) powerLess(a, b string) bool {
	x, y := r.events[a], r.events[b]
	if p, q := r.senderLevel(a), r.senderLevel(b); p != q {
		return p > q
	}
	if x.OriginServerTS != y.OriginServerTS {
		return x.OriginServerTS < y.OriginServerTS
	}
	return x.ID < y.ID
}

// cited is the auth event of an event with a type and state key. In room version
// 12 the room id cites the create event.
func (r *reference) cited(id string, k auth.Key) *auth.View {
	if r.v.HashRoomIDs && k.Type == "m.room.create" {
		return r.events["$"+r.events[id].Room[1:]]
	}
	for _, a := range r.authEvents(id) {
		if e := r.events[a]; e != nil && e.Is(k.Type, k.StateKey) {
			return e
		}
	}
	return nil
}

func (r *reference) senderLevel(id string) int64 {
	create, levels := r.cited(id, auth.Key{Type: "m.room.create"}), r.cited(id, auth.Key{Type: "m.room.power_levels"})
	return auth.LevelsOf(r.v, create, levels).UserLevel(r.events[id].Sender)
}

// levelsBehind lists the m.room.power_levels events behind an event, the nearest
// first.
func (r *reference) levelsBehind(id string) []string {
	var list []string
	for {
		e := r.cited(id, auth.Key{Type: "m.room.power_levels"})
		if e == nil {
			return list
		}
		list = append(list, e.ID)
		id = e.ID
	}
}

func (r *reference) mainlineOrder(ids []string, p string) {
	var line []string
	if p != "" {
		line = append([]string{p}, r.levelsBehind(p)...)
	}
	position := map[string]int{}
	for _, id := range ids {
		position[id] = math.MaxInt
		for _, e := range r.levelsBehind(id) {
			if i := slices.Index(line, e); i >= 0 {
				position[id] = i
				break
			}
		}
	}
	sort.Slice(ids, func(i, j int) bool {
		x, y := r.events[ids[i]], r.events[ids[j]]
		if a, b := position[x.ID], position[y.ID]; a != b {
			return a > b
		}
		if x.OriginServerTS != y.OriginServerTS {
			return x.OriginServerTS < y.OriginServerTS
		}
		return x.ID < y.ID
	})
}

// iterate is the iterative auth checks algorithm, in place.
func (r *reference) iterate(state stateres.StateMap, order []string) {
	for _, id := range order {
		e := r.events[id]
		at := auth.StateMap{}
		for _, k := range auth.Reads(r.v, e) {
			if a := r.events[state[k]]; a != nil {
				at[k] = a
			} else if a := r.cited(id, k); a != nil && !a.Rejected {
				at[k] = a
			}
		}
		if e.State && auth.Check(r.v, e, at) == nil {
			state[e.Key()] = id
		}
	}
}
