// Package stateres resolves conflicting room states to one, by the algorithms of
// all room versions.
//
// States are maps of event ids. Views of events are asked for in batches, and
// only for what the conflict concerns: the cost follows the conflict, not the
// size of the room.
//
// The answer depends on the states and the events alone: not on the order of
// the states, nor on Go's order of maps.
//
// https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
package stateres

import (
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
)

// StateMap is a room state: the id of the state event at each key.
type StateMap map[auth.Key]string

// Source gives views of events.
type Source interface {
	// Views returns the views of the events in the order of ids, nil for those
	// that are not known. Ids are not repeated within a call, and no id is asked
	// for twice within a resolution.
	Views(ids []string) ([]*auth.View, error)
}

// Stats says what a resolution cost.
type Stats struct {
	Conflicted int // keys in conflict
	Loaded     int // views asked for
	Batches    int // calls of Views
}

// Conflict is what a resolution needs to know of the states. Resolve makes it
// from whole maps; those who keep states in a form that can be compared without
// reading them whole make it themselves.
type Conflict struct {
	// Unconflicted returns the event at a key that all states agree on, or "".
	Unconflicted func(auth.Key) string
	// Sets holds, for each state, the events at those keys on which the states
	// do not agree. A key may be missing in some sets.
	Sets []StateMap
	// Younger returns the events of the unconflicted state that became state after
	// the first of the events in ids was known to the store. Only those can have
	// one of ids in their auth chains, for an event is taken after its auth events
	// are; the rest of the room is not looked at. It may return more, up to the
	// whole unconflicted state. Room version 1 does not use it.
	Younger func(ids []string) ([]string, error)
}

// MissingError is an event of a state, or of its auth difference, that Source
// does not know.
type MissingError struct{ EventID string }

func (e *MissingError) Error() string { return fmt.Sprintf("event %s is not known", e.EventID) }

// Resolve resolves whole states. The result is a new map.
func Resolve(v *roomversion.Version, states []StateMap, source Source) (StateMap, Stats, error) {
	if len(states) == 0 {
		return StateMap{}, Stats{}, nil
	}
	w := newViews(source)
	unconflicted, sets := separate(states, v.StateRes == roomversion.StateResV1)
	c := Conflict{
		Unconflicted: func(k auth.Key) string { return unconflicted[k] },
		Sets:         sets,
		Younger: func([]string) ([]string, error) {
			return conflictedIDs([]StateMap{unconflicted}), nil
		},
	}
	resolved, stats, err := resolve(v, c, w)
	if err != nil {
		return nil, stats, err
	}
	for k, id := range resolved {
		if _, agreed := unconflicted[k]; !agreed {
			unconflicted[k] = id
		}
	}
	return unconflicted, stats, nil
}

// ResolveConflict resolves the keys in conflict, and returns those keys alone.
func ResolveConflict(v *roomversion.Version, c Conflict, source Source) (StateMap, Stats, error) {
	resolved, stats, err := resolve(v, c, newViews(source))
	for k := range resolved {
		if c.Unconflicted(k) != "" {
			delete(resolved, k)
		}
	}
	return resolved, stats, err
}

func resolve(v *roomversion.Version, c Conflict, w *views) (StateMap, Stats, error) {
	r := &resolver{v: v, views: w, base: c.Unconflicted, state: StateMap{}}
	keys := make(map[auth.Key]bool)
	for _, set := range c.Sets {
		for k := range set {
			keys[k] = true
		}
	}
	var err error
	if len(keys) > 0 {
		if v.StateRes == roomversion.StateResV1 {
			err = r.resolveV1(c.Sets)
		} else {
			err = r.resolveV2(c)
		}
	}
	stats := Stats{Conflicted: len(keys), Loaded: w.loaded, Batches: w.batches}
	if err != nil {
		return nil, stats, err
	}
	return r.state, stats, nil
}

// separate splits states into what they agree on and, for each, what they do
// not. From algorithm version 2 on, a key that one state lacks is in conflict;
// in version 1 only two different events are.
func separate(states []StateMap, v1 bool) (StateMap, []StateMap) {
	agreed := maps.Clone(states[0])
	if agreed == nil {
		agreed = StateMap{}
	}
	conflicted := make(map[auth.Key]bool)
	for _, s := range states[1:] {
		for k, id := range s {
			if was, ok := agreed[k]; !ok {
				agreed[k] = id
			} else if was != id {
				conflicted[k] = true
			}
		}
	}
	if !v1 {
		for _, s := range states {
			if len(s) == len(agreed) {
				continue
			}
			for k := range agreed {
				if _, ok := s[k]; !ok {
					conflicted[k] = true
				}
			}
		}
	}
	sets := make([]StateMap, len(states))
	for i, s := range states {
		sets[i] = make(StateMap, len(conflicted))
		for k := range conflicted {
			if id, ok := s[k]; ok {
				sets[i][k] = id
			}
		}
	}
	for k := range conflicted {
		delete(agreed, k)
	}
	return agreed, sets
}

// conflictedIDs lists the events of all sets, once each, sorted.
func conflictedIDs(sets []StateMap) []string {
	var ids []string
	for _, set := range sets {
		for _, id := range set {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// views loads views and keeps them for one resolution.
type views struct {
	source          Source
	known           map[string]*auth.View // nil for events that are not known
	settled         map[string]bool       // events of the full conflicted set, as far as it is found
	loaded, batches int
}

func newViews(source Source) *views {
	return &views{source: source, known: make(map[string]*auth.View)}
}

// load makes sure that views were asked for, in one batch.
func (w *views) load(ids []string) error {
	var missing []string
	for _, id := range ids {
		if _, asked := w.known[id]; !asked {
			w.known[id] = nil
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	got, err := w.source.Views(missing)
	if err != nil {
		return fmt.Errorf("load auth views: %w", err)
	}
	if len(got) != len(missing) {
		return fmt.Errorf("load auth views: asked for %d, got %d", len(missing), len(got))
	}
	for i, id := range missing {
		w.known[id] = got[i]
	}
	w.loaded += len(missing)
	w.batches++
	return nil
}

// all loads events that must be known.
func (w *views) all(ids []string) ([]*auth.View, error) {
	if err := w.load(ids); err != nil {
		return nil, err
	}
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		if out[i] = w.known[id]; out[i] == nil {
			return nil, &MissingError{id}
		}
	}
	return out, nil
}
