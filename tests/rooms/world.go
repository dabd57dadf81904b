package rooms

import (
	"errors"
	"fmt"
	"maps"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
)

// World is a server that knows nothing but the events that it received, and
// keeps all rooms in memory.
type World struct {
	v      *roomversion.Version
	events map[string]*known
	rooms  map[string]auth.StateMap // the current state
}

type known struct {
	event *pdu.Event
	view  *auth.View
	after auth.StateMap // the state after the event
}

// NewWorld is a server that received nothing yet.
func NewWorld(v *roomversion.Version) *World {
	return &World{v: v, events: map[string]*known{}, rooms: map[string]auth.StateMap{}}
}

// Receive puts an event through all checks and keeps what passes.
func (w *World) Receive(raw []byte) (receipt.Verdict, *receipt.Received) {
	room, err := w.roomOf(raw)
	if err != nil {
		return receipt.VerdictOf(err), nil
	}
	u, err := receipt.Parse(w.v, room, raw)
	if err != nil {
		return receipt.VerdictOf(err), nil
	}
	keys := receipt.Keys{}
	for _, want := range u.Wants() {
		keys[receipt.KeyName{Server: want.Server, ID: keyID}] = receipt.Key{Public: publicKey(want.Server), ValidUntil: want.ValidAt}
	}
	r, err := u.Verify(keys, start)
	if err != nil {
		return receipt.VerdictOf(err), nil
	}
	before, err := w.after(r.Event().PrevEvents)
	if err != nil {
		return receipt.VerdictOf(err), nil
	}
	current := w.rooms[room]
	verdict := r.Judge(receipt.Evidence{Cited: w.cited(), Before: before, Current: current, Policy: w.policy(current)})
	w.keep(r, verdict.Outcome, before)
	return verdict, r
}

// roomOf is the room of an event: that which it names, or in version 12 that
// which a create event makes.
func (w *World) roomOf(raw []byte) (string, error) {
	room, err := receipt.RoomID(raw)
	if err != nil || room != "" || !w.v.HashRoomIDs {
		return room, err
	}
	eventID, err := pdu.ID(w.v, raw)
	return id.RoomOfCreate(eventID), err
}

func (w *World) cited() receipt.Cited {
	cited := receipt.Cited{}
	for eventID, k := range w.events {
		cited[eventID] = k.view
	}
	return cited
}

func (w *World) keep(r *receipt.Received, outcome receipt.Outcome, before auth.StateMap) {
	e, view := r.Event(), *r.View()
	view.Rejected = outcome == receipt.Rejected
	k := &known{event: e, view: &view, after: before}
	if view.State && !view.Rejected {
		k.after = maps.Clone(before)
		k.after[view.Key()] = &view
	}
	w.events[e.ID] = k
	if outcome == receipt.Accepted {
		w.rooms[e.RoomID] = k.after
	}
}

// after is the state after some events. Stories leave conflicts to those of
// state resolution.
func (w *World) after(prev []string) (auth.StateMap, error) {
	state := auth.StateMap{}
	for _, ref := range prev {
		k := w.events[ref]
		if k == nil {
			return nil, fmt.Errorf("the previous event %s is not known", ref)
		}
		for key, view := range k.after {
			if other := state[key]; other != nil && other.ID != view.ID {
				return nil, errors.New("the states before the event differ")
			}
			state[key] = view
		}
	}
	return state, nil
}

func (w *World) policy(current auth.StateMap) receipt.Policy {
	var content []byte
	if view := current[auth.Key{Type: "m.room.policy"}]; view != nil {
		content = w.events[view.ID].event.Content
	}
	return receipt.PolicyOf(content, func(server string) bool {
		for key, view := range current {
			if key.Type == "m.room.member" && id.Server(key.StateKey) == server && view.Content.Membership == "join" {
				return true
			}
		}
		return false
	})
}
