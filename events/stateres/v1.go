package stateres

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
)

// resolveV1 is the algorithm of room version 1.
//
// Conflicts of one type are all judged by the state before that type's pass, so
// that the order of keys does not matter.
//
// https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
func (r *resolver) resolveV1(c Conflict) error {
	byKey := make(map[auth.Key][]*auth.View)
	events, err := r.views.all(conflictedIDs(c.Sets))
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.State {
			byKey[e.Key()] = append(byKey[e.Key()], e)
		}
	}
	if err := r.loadReads(events); err != nil {
		return err
	}
	passes := []func(auth.Key) bool{
		func(k auth.Key) bool { return k == levelsKey },
		func(k auth.Key) bool { return k == auth.Key{Type: "m.room.join_rules"} },
		func(k auth.Key) bool { return k.Type == "m.room.member" },
	}
	for _, in := range passes {
		won := StateMap{}
		for k, candidates := range byKey {
			if in(k) {
				won[k] = r.lastAllowed(k, candidates)
				delete(byKey, k)
			}
		}
		maps.Copy(r.state, won)
	}
	won := StateMap{}
	for k, candidates := range byKey {
		won[k] = r.bestAllowed(candidates)
	}
	maps.Copy(r.state, won)
	return nil
}

// resolvedOnly is the state R of version 1: there is no falling back to the
// auth events of an event. over is a key with a candidate in its place.
type resolvedOnly struct {
	r    *resolver
	key  auth.Key
	over *auth.View
}

func (s resolvedOnly) Lookup(k auth.Key) *auth.View {
	if s.over != nil && k == s.key {
		return s.over
	}
	return s.r.views.known[s.r.at(k)]
}

// lastAllowed starts from the lowest candidate and takes each next one as long
// as the one before allows it.
func (r *resolver) lastAllowed(k auth.Key, candidates []*auth.View) string {
	slices.SortFunc(candidates, func(x, y *auth.View) int { return -highestFirst(x, y) })
	current := candidates[0]
	for _, e := range candidates[1:] {
		if auth.Check(r.v, e, resolvedOnly{r, k, current}) != nil {
			break
		}
		current = e
	}
	return current.ID
}

// bestAllowed takes the highest candidate that the rules allow. When they allow
// none, the spec is silent, and servers take the lowest.
func (r *resolver) bestAllowed(candidates []*auth.View) string {
	slices.SortFunc(candidates, highestFirst)
	for _, e := range candidates {
		if auth.Check(r.v, e, resolvedOnly{r: r}) == nil {
			return e.ID
		}
	}
	return candidates[len(candidates)-1].ID
}

// highestFirst orders by descending depth, then by ascending SHA-1 of the id.
func highestFirst(x, y *auth.View) int {
	if c := cmp.Compare(y.Depth, x.Depth); c != 0 {
		return c
	}
	a, b := sha1.Sum([]byte(x.ID)), sha1.Sum([]byte(y.ID))
	return bytes.Compare(a[:], b[:])
}
