package stateres_test

import (
	"crypto/sha1"
	"sort"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/stateres"
)

// resolveV1 is the algorithm of room version 1, sentence by sentence.
//
// The spec is silent on two points, where it does what servers do: conflicts at
// several keys of one type are judged by the R before the first of them, and when
// no event passes authentication the one of lowest depth is picked.
func (r *reference) resolveV1(states []stateres.StateMap) (resolved stateres.StateMap, missing bool) {
	// "A conflict occurs between states where those states have different
	// event_ids for the same (event_type, state_key)."
	conflicts := map[auth.Key]set{}
	for _, s := range states {
		for k, id := range s {
			for _, other := range states {
				if was, ok := other[k]; ok && was != id {
					if conflicts[k] == nil {
						conflicts[k] = set{}
					}
					conflicts[k][id] = true
				}
			}
		}
	}
	for _, ids := range conflicts {
		for id := range ids {
			if r.events[id] == nil {
				return nil, true
			}
		}
	}
	// "Start by setting R to the union of the states to be resolved, excluding any
	// conflicting events."
	result := stateres.StateMap{}
	for _, s := range states {
		for k, id := range s {
			if conflicts[k] == nil {
				result[k] = id
			}
		}
	}
	// "First we resolve conflicts between m.room.power_levels events", "repeat the
	// above process for conflicts between m.room.join_rules events", "m.room.member
	// events".
	for _, typ := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.member"} {
		found := stateres.StateMap{}
		for k, ids := range conflicts {
			if k.Type == typ && (k.StateKey == "" || typ == "m.room.member") {
				found[k] = r.lastOf(k, ids, result)
			}
		}
		for k, id := range found {
			result[k] = id
			delete(conflicts, k)
		}
	}
	// "For all other conflicts, just pick the event with the highest depth and
	// lowest sha1(event_id) that passes authentication in R and add it to R."
	found := stateres.StateMap{}
	for k, ids := range conflicts {
		list := r.ascending(ids)
		found[k] = list[0]
		for i := len(list) - 1; i >= 0; i-- {
			if r.passes(list[i], result) {
				found[k] = list[i]
				break
			}
		}
	}
	for k, id := range found {
		result[k] = id
	}
	return result, false
}

// lastOf adds the first of the events to R, and each next one that is allowed by
// it, until one is not.
func (r *reference) lastOf(k auth.Key, ids set, result stateres.StateMap) string {
	with := stateres.StateMap{}
	for k, id := range result {
		with[k] = id
	}
	for i, id := range r.ascending(ids) {
		if i > 0 && !r.passes(id, with) {
			break
		}
		with[k] = id
	}
	return with[k]
}

// ascending sorts by ascending depth then descending sha1(event_id).
func (r *reference) ascending(ids set) []string {
	var list []string
	for id := range ids {
		list = append(list, id)
	}
	sort.Slice(list, func(i, j int) bool {
		x, y := r.events[list[i]], r.events[list[j]]
		if x.Depth != y.Depth {
			return x.Depth < y.Depth
		}
		a, b := sha1.Sum([]byte(x.ID)), sha1.Sum([]byte(y.ID))
		return string(a[:]) > string(b[:])
	})
	return list
}

func (r *reference) passes(id string, state stateres.StateMap) bool {
	at := auth.StateMap{}
	for k, id := range state {
		at[k] = r.events[id]
	}
	return auth.Check(r.v, r.events[id], at) == nil
}
