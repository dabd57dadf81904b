package oracle

import (
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

// TestAuthorisation asks whether a random event is allowed in a random state.
func TestAuthorisation(t *testing.T) {
	l := newLedger(t, authorisation)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		g := newVillage(v, d)
		for range 8000 {
			p := g.place()
			s := g.stateOf(p)
			e := g.eventIn(p, s)
			ours := outcomeOf(auth.Check(v, e.View, views(s)))
			l.add(&comparison{v: v, library: gmsl, event: e, state: s, ours: ours, theirs: safely(func() outcome { return gmslAllows(e, s) })})
			if theirs, ok := mautrixAllows(v, e, s); ok {
				l.add(&comparison{v: v, library: mautrix, event: e, state: s, ours: ours, theirs: theirs})
			}
		}
	})
	l.close()
}

func views(s map[auth.Key]*room.Event) auth.StateMap {
	m := auth.StateMap{}
	for k, e := range s {
		m[k] = e.View
	}
	return m
}

func gmslAllows(e *room.Event, s map[auth.Key]*room.Event) outcome {
	var events []gomatrixserverlib.PDU
	for _, e := range s {
		events = append(events, e.PDU)
	}
	provider, err := gomatrixserverlib.NewAuthEvents(events)
	if err != nil {
		return refused(err)
	}
	return outcomeOf(gomatrixserverlib.Allowed(e.PDU, provider, room.UserID))
}
