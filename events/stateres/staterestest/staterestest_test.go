package staterestest_test

import (
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

// The rooms that others measure by are rooms that a server could have: the rules
// allow each event at its auth events, and generations rise along them.
func TestRoomsAreHonest(t *testing.T) {
	shapes := map[string]func(string) *staterestest.Fork{
		"large":     func(v string) *staterestest.Fork { return staterestest.Large(t, v, 20) },
		"one-sided": func(v string) *staterestest.Fork { return staterestest.OneSided(t, v, 20) },
		"rounds":    func(v string) *staterestest.Fork { return staterestest.Rounds(t, v, 5) },
	}
	for name, shape := range shapes {
		for _, v := range roomversion.All() {
			f := shape(v.ID)
			if len(f.Order) != len(f.Events) || len(f.Sources) != len(f.Events) {
				t.Fatalf("%s, version %s: two events have one name", name, v.ID)
			}
			create := f.Events[f.EventID("create")]
			for _, eventID := range f.Order {
				e, cited := f.Events[eventID], auth.StateMap{create.Key(): create}
				generation := int64(1)
				for _, a := range e.AuthEvents {
					cited[f.Events[a].Key()] = f.Events[a]
					generation = max(generation, f.Events[a].Generation+1)
				}
				if e.Type == "m.room.create" {
					cited = nil
				}
				source := f.Sources[eventID]
				if err := auth.Check(f.Version, e, cited); err != nil && !(v.HashRoomIDs && cited == nil) {
					t.Errorf("%s, version %s: %s: %v", name, v.ID, eventID, err)
				}
				if e.Generation != generation || source.EventID != eventID || !slices.Equal(source.AuthEvents, e.AuthEvents) {
					t.Errorf("%s, version %s: %s has generation %d and was made of %+v", name, v.ID, eventID, e.Generation, source)
				}
				if !id.ValidEvent(eventID) {
					t.Errorf("version %s: %s is not an event id", v.ID, eventID)
				}
			}
		}
	}
}
