package room

import (
	"fmt"
	"os"

	"github.com/matrix-org/gomatrixserverlib"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// Known is what gomatrixserverlib wants beside the states: all events that can
// be reached from them by auth events, which in room version 12 include the
// create event; and the states' own events, without which it panics.
func (r *Room) Known(states ...stateres.StateMap) []gomatrixserverlib.PDU {
	seen := map[string]bool{}
	var list []gomatrixserverlib.PDU
	var walk func(id string)
	walk = func(id string) {
		e := r.Events[id]
		if e == nil || seen[id] {
			return
		}
		seen[id] = true
		list = append(list, e.PDU)
		for _, a := range e.PDU.AuthEventIDs() {
			walk(a)
		}
	}
	for _, s := range states {
		for _, id := range s {
			walk(id)
		}
	}
	return list
}

// Resolve asks gomatrixserverlib to resolve states. known is from Known.
func (r *Room) Resolve(known []gomatrixserverlib.PDU, states ...[]gomatrixserverlib.PDU) (s stateres.StateMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var resolved []gomatrixserverlib.PDU
	if r.V.StateRes == roomversion.StateResV1 {
		// ResolveConflictsNew would take whatever is known for the resolved state.
		conflicted, unconflicted := split(states)
		resolved = append(gomatrixserverlib.ResolveStateConflicts(conflicted, unconflicted, UserID), unconflicted...)
	} else if resolved, err = gomatrixserverlib.ResolveConflictsNew(r.Theirs.Version(), states, known, UserID, func(string) bool { return false }); err != nil {
		return nil, err
	}
	s = stateres.StateMap{}
	for _, e := range resolved {
		s[auth.Key{Type: e.Type(), StateKey: *e.StateKey()}] = e.EventID()
	}
	return s, nil
}

// split finds the conflicts of algorithm 1: keys with more than one event.
func split(states [][]gomatrixserverlib.PDU) (conflicted, unconflicted []gomatrixserverlib.PDU) {
	byKey := map[gomatrixserverlib.StateKeyTuple]map[string]gomatrixserverlib.PDU{}
	for _, s := range states {
		for _, e := range s {
			k := gomatrixserverlib.StateKeyTuple{EventType: e.Type(), StateKey: *e.StateKey()}
			if byKey[k] == nil {
				byKey[k] = map[string]gomatrixserverlib.PDU{}
			}
			byKey[k][e.EventID()] = e
		}
	}
	for _, events := range byKey {
		for _, e := range events {
			if len(events) > 1 {
				conflicted = append(conflicted, e)
			} else {
				unconflicted = append(unconflicted, e)
			}
		}
	}
	return conflicted, unconflicted
}

// Quietly runs f while standard output is thrown away: gomatrixserverlib prints
// the paths that it finds.
func Quietly(f func()) {
	out := os.Stdout
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	os.Stdout = null
	defer func() {
		os.Stdout = out
		null.Close()
	}()
	f()
}
