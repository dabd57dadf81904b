package stateres_test

import (
	"math"
	"sort"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// reference is algorithm version 2 and 2.1 written from the spec's text, one
// definition after the other, without any thought of speed. It shares no code
// with the package but the auth rules.
type reference struct {
	v      *roomversion.Version
	events map[string]*auth.View
}

type set map[string]bool

func (r reference) authChain(id string) set {
	chain := set{}
	var walk func(string)
	walk = func(id string) {
		for _, a := range r.events[id].AuthEvents {
			if !chain[a] {
				chain[a] = true
				walk(a)
			}
		}
	}
	walk(id)
	return chain
}

func (r reference) resolve(states []stateres.StateMap) stateres.StateMap {
	unconflicted := stateres.StateMap{}
	conflicted := set{}
	for _, s := range states {
		for k, id := range s {
			same := true
			for _, other := range states {
				same = same && other[k] == id
			}
			if same {
				unconflicted[k] = id
			} else {
				conflicted[id] = true
			}
		}
	}
	full := set{}
	for id := range conflicted {
		full[id] = true
	}
	for id := range r.events { // auth difference
		n := 0
		for _, s := range states {
			for _, e := range s {
				if r.authChain(e)[id] {
					n++
					break
				}
			}
		}
		if n > 0 && n < len(states) {
			full[id] = true
		}
	}
	v21 := r.v.StateRes == roomversion.StateResV21
	if v21 {
		for id := range r.events { // conflicted state subgraph
			for from := range conflicted {
				for to := range conflicted {
					if (id == from || r.authChain(from)[id]) && (id == to || r.authChain(id)[to]) {
						full[id] = true
					}
				}
			}
		}
	}

	// 1
	picked := set{}
	var pick func(string)
	pick = func(id string) {
		if full[id] && !picked[id] {
			picked[id] = true
			for _, a := range r.events[id].AuthEvents {
				pick(a)
			}
		}
	}
	for id := range full {
		e := r.events[id]
		m := e.Content.Membership
		if e.Type == "m.room.power_levels" || e.Type == "m.room.join_rules" ||
			e.Type == "m.room.member" && (m == "leave" || m == "ban") && e.Sender != e.StateKey {
			pick(id)
		}
	}
	state := stateres.StateMap{}
	if !v21 {
		for k, id := range unconflicted {
			state[k] = id
		}
	}
	// 2
	var order []string
	for done := (set{}); len(done) < len(picked); {
		best := ""
		for id := range picked {
			ready := !done[id]
			for _, a := range r.events[id].AuthEvents {
				ready = ready && (!picked[a] || done[a])
			}
			if ready && (best == "" || r.powerLess(id, best)) {
				best = id
			}
		}
		done[best] = true
		order = append(order, best)
	}
	r.iterate(state, order)
	// 3
	rest := []string{}
	for id := range full {
		if !picked[id] {
			rest = append(rest, id)
		}
	}
	mainline := []string{}
	for id := state[auth.Key{Type: "m.room.power_levels"}]; id != ""; id = r.levels(id) {
		mainline = append(mainline, id)
	}
	position := func(id string) int {
		for id = r.levels(id); id != ""; id = r.levels(id) {
			for i, m := range mainline {
				if m == id {
					return i
				}
			}
		}
		return math.MaxInt
	}
	sort.Slice(rest, func(i, j int) bool {
		x, y := r.events[rest[i]], r.events[rest[j]]
		if a, b := position(x.ID), position(y.ID); a != b {
			return a > b
		}
		if x.OriginServerTS != y.OriginServerTS {
			return x.OriginServerTS < y.OriginServerTS
		}
		return x.ID < y.ID
	})
	// 4
	r.iterate(state, rest)
	// 5
	for k, id := range unconflicted {
		state[k] = id
	}
	return state
}

func (r reference) levels(id string) string {
	for _, a := range r.events[id].AuthEvents {
		if r.events[a].Is("m.room.power_levels", "") {
			return a
		}
	}
	return ""
}

func (r reference) create() *auth.View {
	for _, e := range r.events {
		if e.Type == "m.room.create" {
			return e
		}
	}
	return nil
}

func (r reference) senderLevel(id string) int64 {
	return auth.LevelsOf(r.v, r.create(), r.events[r.levels(id)]).UserLevel(r.events[id].Sender)
}

func (r reference) powerLess(a, b string) bool {
	x, y := r.events[a], r.events[b]
	if p, q := r.senderLevel(a), r.senderLevel(b); p != q {
		return p > q
	}
	if x.OriginServerTS != y.OriginServerTS {
		return x.OriginServerTS < y.OriginServerTS
	}
	return x.ID < y.ID
}

func (r reference) iterate(state stateres.StateMap, order []string) {
	for _, id := range order {
		e := r.events[id]
		at := auth.StateMap{}
		for _, a := range e.AuthEvents {
			if !r.events[a].Rejected {
				at[r.events[a].Key()] = r.events[a]
			}
		}
		for k, id := range state {
			at[k] = r.events[id]
		}
		if r.v.HashRoomIDs {
			at[auth.Key{Type: "m.room.create"}] = r.create()
		}
		if auth.Check(r.v, e, at) == nil {
			state[e.Key()] = id
		}
	}
}
