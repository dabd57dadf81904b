package stateres

import (
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
)

var (
	createKey = auth.Key{Type: "m.room.create"}
	levelsKey = auth.Key{Type: "m.room.power_levels"}
)

// resolver is one resolution: the state built so far, over the unconflicted one.
type resolver struct {
	v     *roomversion.Version
	views *views
	state StateMap
	// fromEmpty: the auth checks do not see the unconflicted state (room version 12).
	fromEmpty bool
}

// at returns the event at a key of the partially resolved state. The key must
// have been looked up.
func (r *resolver) at(k auth.Key) string {
	if id, ok := r.state[k]; ok {
		return id
	}
	if r.fromEmpty {
		return ""
	}
	return r.views.base[k]
}

// resolveV2 is algorithm version 2, and with the conflicted state subgraph and
// an empty state to start from version 2.1.
//
// https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
func (r *resolver) resolveV2(c Conflict) error {
	r.fromEmpty = r.v.StateRes == roomversion.StateResV21
	full, err := r.fullConflictedSet(c)
	if err != nil {
		return err
	}
	powerful, rest := r.splitPower(full)
	if err := r.loadAuthEvents(powerful); err != nil {
		return err
	}
	if err := r.check(r.sortByPower(powerful)); err != nil {
		return err
	}
	if err := r.loadAuthEvents(rest); err != nil {
		return err
	}
	if !r.fromEmpty {
		if err := r.views.look([]auth.Key{levelsKey}); err != nil {
			return err
		}
	}
	rest, err = r.sortByMainline(rest, r.at(levelsKey))
	if err != nil {
		return err
	}
	return r.check(rest)
}

// fullConflictedSet is the union of conflicted state set, auth difference and,
// in version 2.1, conflicted state subgraph; sorted by id.
func (r *resolver) fullConflictedSet(c Conflict) ([]*auth.View, error) {
	conflicted, err := r.views.all(conflictedIDs(c.Sets))
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(conflicted))
	for _, e := range conflicted {
		ids = append(ids, e.ID)
	}
	if r.v.StateRes == roomversion.StateResV21 {
		if ids, err = r.views.subgraph(conflicted); err != nil {
			return nil, err
		}
	}
	in := make(map[string]bool, len(ids))
	for _, id := range ids {
		in[id] = true
	}
	difference, err := r.views.authDifference(c, in)
	if err != nil {
		return nil, err
	}
	ids = append(ids, difference...)
	slices.Sort(ids)
	return r.views.all(ids)
}

// splitPower picks the power events of the full conflicted set and what of their
// auth chains is in it, and returns them and the others. Auth chains are
// followed within the set, as all servers do.
func (r *resolver) splitPower(full []*auth.View) (powerful, rest []*auth.View) {
	in := make(map[string]bool, len(full)) // true once picked
	for _, e := range full {
		in[e.ID] = false
	}
	var todo []string
	pick := func(id string) {
		r.views.stats.Steps++
		if picked, ok := in[id]; ok && !picked {
			in[id] = true
			todo = append(todo, id)
		}
	}
	for _, e := range full {
		if powerEvent(e) {
			pick(e.ID)
		}
	}
	for len(todo) > 0 {
		e := r.views.known[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, a := range e.AuthEvents {
			pick(a)
		}
	}
	for _, e := range full {
		if in[e.ID] {
			powerful = append(powerful, e)
		} else {
			rest = append(rest, e)
		}
	}
	return powerful, rest
}

// loadAuthEvents loads in one batch what the events cite, and where the room
// version does not cite it the create event.
func (r *resolver) loadAuthEvents(events []*auth.View) error {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.AuthEvents...)
		if r.v.HashRoomIDs {
			ids = append(ids, createOf(e))
		}
	}
	return r.views.load(ids)
}

// createOf is the create event of e's room, from room version 12 on.
func createOf(e *auth.View) string {
	if e.Room == "" {
		return ""
	}
	return "$" + e.Room[1:]
}

// cited returns the auth event of e at a key, or in room version 12 the create
// event. It must be loaded.
func (r *resolver) cited(e *auth.View, k auth.Key) *auth.View {
	if r.v.HashRoomIDs && k == createKey {
		return r.views.known[createOf(e)]
	}
	for _, id := range e.AuthEvents {
		r.views.stats.Steps++
		if a := r.views.known[id]; a != nil && a.Is(k.Type, k.StateKey) {
			return a
		}
	}
	return nil
}

// senderLevel is the power level of e's sender by e's auth events.
func (r *resolver) senderLevel(e *auth.View) int64 {
	return auth.LevelsOf(r.v, r.cited(e, createKey), r.cited(e, levelsKey)).UserLevel(e.Sender)
}

// loadReads loads what checking the events will look up of the state.
func (r *resolver) loadReads(events []*auth.View) error {
	var keys []auth.Key
	for _, e := range events {
		keys = append(keys, auth.Reads(r.v, e)...)
	}
	if !r.fromEmpty {
		if err := r.views.look(keys); err != nil {
			return err
		}
	}
	var ids []string
	for _, k := range keys {
		if id := r.at(k); id != "" {
			ids = append(ids, id)
		}
	}
	return r.views.load(ids)
}

// check is the iterative auth checks: each event is applied to the state if the
// rules allow it there.
func (r *resolver) check(events []*auth.View) error {
	if err := r.loadReads(events); err != nil {
		return err
	}
	for _, e := range events {
		r.views.stats.Steps++
		if e.State && auth.Check(r.v, e, &lookup{r, e}) == nil {
			r.state[e.Key()] = e.ID
		}
	}
	return nil
}

// lookup is the state by which one event is checked: the partially resolved
// state, and where it has nothing the event's own auth events, if they were not
// rejected.
type lookup struct {
	r *resolver
	e *auth.View
}

func (l *lookup) Lookup(k auth.Key) *auth.View {
	if id := l.r.at(k); id != "" {
		// Loaded: check asked for it, or the event was itself applied.
		if e := l.r.views.known[id]; e != nil {
			return e
		}
	}
	if a := l.r.cited(l.e, k); a != nil && !a.Rejected {
		return a
	}
	return nil
}
