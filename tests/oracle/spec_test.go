package oracle

import (
	"cmp"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/tests/oracle/room"
)

// A reading is state resolution as the specification defines it, one function
// for each of its definitions, without any thought of speed; but for two points in
// which servers read it otherwise, see toTheLetter and pull. Of our packages it
// uses the authorisation rules alone. Where gomatrixserverlib's answer is not
// ours, this one has to be.
//
// https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
type reading struct {
	*room.Room
	states []stateres.StateMap
	faults faults

	unconflicted stateres.StateMap
	conflicted   map[string]bool
	difference   map[string]bool
	full         map[string]bool
	power        []*auth.View // in order
	rest         []*auth.View // in order
	resolved     stateres.StateMap
}

// faults are those that gomatrixserverlib has. A reading with some of them tells
// which of them an answer comes from.
type faults uint8

const (
	// fallback: where the partial state lacks what an event's auth events have,
	// the event itself is put into the state by which it is checked.
	fallback faults = 1 << iota
	// backwards: power events are ordered from the latest to the earliest. Those
	// that others cite are counted twice, so that what they cite themselves is
	// never free, and comes first, whatever it cites.
	backwards
	// narrow: with power events go only those of their auth chains that are in the
	// conflicted state set, and what the states agree on is left out.
	narrow
	// steps: events that do not stem from the mainline count as based on its
	// beginning, and equal positions are ordered by the steps to the mainline.
	steps
	// toTheLetter: the full auth chain of a state is the union of those of its events,
	// without the events. That is the letter of the specification; we follow
	// Synapse, for reasons that the comment of events/stateres gives.
	toTheLetter
	allFaults = 1<<iota - 1
)

func (x *reading) has(f faults) bool { return x.faults&f != 0 }

func read(r *room.Room, states []stateres.StateMap, f faults) *reading {
	x := &reading{Room: r, states: states, faults: f, unconflicted: stateres.StateMap{}, conflicted: map[string]bool{}, full: map[string]bool{}, difference: map[string]bool{}}
	x.separate()
	x.collect()
	state := stateres.StateMap{}
	if r.V.StateRes != roomversion.StateResV21 {
		state = maps.Clone(x.unconflicted)
	}
	// 1. Power events, and what of their auth chains is in the full conflicted set.
	powerful := map[string]bool{}
	for id := range x.full {
		if x.isPower(x.view(id)) {
			powerful[id] = true
			x.pull(id, powerful)
		}
	}
	x.power = x.byPower(powerful)
	// 2. The iterative auth checks.
	x.check(state, x.power)
	// 3 and 4. The others, by the mainline of the resolved power levels.
	for id := range x.full {
		if !powerful[id] {
			x.rest = append(x.rest, x.view(id))
		}
	}
	x.byMainline(x.rest, state[auth.Key{Type: "m.room.power_levels"}])
	x.check(state, x.rest)
	// 5. The unconflicted state.
	maps.Copy(state, x.unconflicted)
	x.resolved = state
	return x
}

// pull adds what of an event's auth chain belongs to the power events. The chain
// is followed within the full conflicted set, as servers do.
func (x *reading) pull(id string, powerful map[string]bool) {
	within := x.full
	if x.has(narrow) {
		within = x.conflicted
	}
	for _, a := range x.view(id).AuthEvents {
		if within[a] && !powerful[a] {
			powerful[a] = true
			x.pull(a, powerful)
		}
	}
}

func (x *reading) view(id string) *auth.View { return x.Events[id].View }

func (x *reading) separate() {
	for _, s := range x.states {
		for k, id := range s {
			if slices.ContainsFunc(x.states, func(other stateres.StateMap) bool { return other[k] != id }) {
				x.conflicted[id] = true
			} else {
				x.unconflicted[k] = id
			}
		}
	}
}

// chain is the auth chain of an event.
func (x *reading) chain(id string) map[string]bool {
	all := map[string]bool{}
	for _, a := range x.view(id).AuthEvents {
		all[a] = true
		maps.Copy(all, x.chain(a))
	}
	return all
}

// collect makes the full conflicted set.
func (x *reading) collect() {
	maps.Copy(x.full, x.conflicted)
	var chains []map[string]bool
	for _, s := range x.states {
		all := map[string]bool{}
		for _, id := range s {
			maps.Copy(all, x.chain(id))
			if !x.has(toTheLetter) {
				all[id] = true
			}
		}
		chains = append(chains, all)
	}
	for _, chain := range chains {
		for id := range chain {
			if slices.ContainsFunc(chains, func(other map[string]bool) bool { return !other[id] }) {
				x.full[id], x.difference[id] = true, true
			}
		}
	}
	if x.has(narrow) {
		for _, id := range x.unconflicted {
			delete(x.full, id)
		}
	}
	if x.V.StateRes != roomversion.StateResV21 {
		return
	}
	above := map[string]bool{} // in the auth chain of a conflicted event
	for id := range x.conflicted {
		maps.Copy(above, x.chain(id))
	}
	for id := range above {
		for a := range x.chain(id) {
			if x.conflicted[a] {
				x.full[id] = true
			}
		}
	}
}

func (x *reading) isPower(e *auth.View) bool {
	switch e.Type {
	case "m.room.power_levels", "m.room.join_rules":
		return e.State
	case "m.room.member":
		m := e.Content.Membership
		return e.State && (m == "leave" || m == "ban") && e.Sender != e.StateKey
	}
	return false
}

// cited is the event of a key among the auth events of another.
func (x *reading) cited(e *auth.View, k auth.Key) *auth.View {
	if x.V.HashRoomIDs && k.Type == "m.room.create" {
		return x.view("$" + e.Room[1:])
	}
	for _, a := range e.AuthEvents {
		if v := x.view(a); v.Key() == k {
			return v
		}
	}
	return nil
}

// level is the power of the sender by the event's own auth events.
func (x *reading) level(e *auth.View) int64 {
	create, levels := x.cited(e, auth.Key{Type: "m.room.create"}), x.cited(e, auth.Key{Type: "m.room.power_levels"})
	return auth.LevelsOf(x.V, create, levels).UserLevel(e.Sender)
}

// byPower is the reverse topological power ordering.
func (x *reading) byPower(set map[string]bool) (order []*auth.View) {
	if x.has(backwards) {
		return x.byPowerBackwards(set)
	}
	left := maps.Clone(set)
	for len(left) > 0 {
		var smallest *auth.View
		for id := range left {
			e := x.view(id)
			if slices.ContainsFunc(e.AuthEvents, func(a string) bool { return left[a] }) {
				continue
			}
			if smallest == nil || x.comparePower(e, smallest) < 0 {
				smallest = e
			}
		}
		order = append(order, smallest)
		delete(left, smallest.ID)
	}
	return order
}

func (x *reading) comparePower(a, b *auth.View) int {
	return cmp.Or(cmp.Compare(x.level(b), x.level(a)), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.ID, b.ID))
}

// byPowerBackwards takes the largest of what nothing left cites, and puts it last.
func (x *reading) byPowerBackwards(set map[string]bool) (order []*auth.View) {
	left, stuck := maps.Clone(set), map[string]bool{}
	var hold func(id string)
	hold = func(id string) {
		for _, a := range x.view(id).AuthEvents {
			if set[a] && !stuck[a] {
				stuck[a] = true
				hold(a)
			}
		}
	}
	for id := range set {
		for _, a := range append([]string{id}, x.view(id).AuthEvents...) {
			if x.conflicted[a] && x.isPower(x.view(a)) && (a != id || x.difference[id]) {
				hold(a)
			}
		}
	}
	for id := range stuck {
		delete(left, id)
	}
	for len(left) > 0 {
		var largest *auth.View
		for id := range left {
			cites := func(other string) bool { return slices.Contains(x.view(other).AuthEvents, id) }
			if e := x.view(id); !slices.ContainsFunc(slices.Collect(maps.Keys(left)), cites) && (largest == nil || x.comparePower(e, largest) > 0) {
				largest = e
			}
		}
		order = append(order, largest)
		delete(left, largest.ID)
	}
	slices.Reverse(order)
	var first []*auth.View
	for id := range stuck {
		first = append(first, x.view(id))
	}
	slices.SortFunc(first, x.comparePower)
	return append(first, order...)
}

// byMainline is the mainline ordering based on a power levels event.
func (x *reading) byMainline(events []*auth.View, from string) {
	levels := auth.Key{Type: "m.room.power_levels"}
	var mainline []string
	for id := from; id != ""; {
		mainline = append(mainline, id)
		next := x.cited(x.view(id), levels)
		if id = ""; next != nil {
			id = next.ID
		}
	}
	position := func(e *auth.View) (at, hops int) {
		for e = x.cited(e, levels); e != nil; e = x.cited(e, levels) {
			if i := slices.Index(mainline, e.ID); i >= 0 {
				return i, hops
			}
			hops++
		}
		if x.has(steps) {
			return len(mainline) - 1, hops
		}
		return len(mainline), 0
	}
	slices.SortFunc(events, func(a, b *auth.View) int {
		i, hopsA := position(a)
		j, hopsB := position(b)
		if !x.has(steps) {
			hopsA, hopsB = 0, 0
		}
		return cmp.Or(cmp.Compare(j, i), cmp.Compare(hopsA, hopsB), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.ID, b.ID))
	})
}

// check is the iterative auth checks.
func (x *reading) check(state stateres.StateMap, events []*auth.View) {
	for _, e := range events {
		at, itself := auth.StateMap{}, false
		for _, k := range auth.Reads(x.V, e) {
			if id := state[k]; id != "" {
				at[k] = x.view(id)
			} else if a := x.cited(e, k); a != nil && !a.Rejected {
				if x.has(fallback) {
					itself = true
				} else {
					at[k] = a
				}
			}
		}
		if itself {
			at[e.Key()] = e
		}
		if auth.Check(x.V, e, at) == nil {
			state[e.Key()] = e.ID
		}
	}
}
