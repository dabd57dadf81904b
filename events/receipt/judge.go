package receipt

import (
	"errors"
	"fmt"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
)

// Outcome is what becomes of an event. The zero value is the harshest.
type Outcome uint8

const (
	// Dropped: the event is not one, or not signed. It is forgotten.
	Dropped Outcome = iota
	// Rejected: the event is kept, so that it is not asked for again and events
	// that follow it find it; but it sets no state, nobody sees it, no event of
	// ours follows it, and none may cite it.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#rejection
	Rejected
	// SoftFailed: the event is part of the room's history, and takes part in
	// state resolution, but clients do not see it and no event of ours follows it.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#soft-failure
	SoftFailed
	// Accepted: the event is part of the room.
	Accepted
)

func (o Outcome) String() string {
	return [...]string{"dropped", "rejected", "soft failed", "accepted"}[o]
}

// Verdict is the outcome of the checks.
type Verdict struct {
	Outcome Outcome
	// Check is the number of the check that the event failed, and Rule that of
	// the authorisation rule, "5.3.3", if it was by rules. 0 and "" when accepted.
	Check int
	Rule  string
	Err   error // why, for the log; nil when accepted
}

func failed(o Outcome, check int, err error) Verdict {
	v := Verdict{Outcome: o, Check: check, Err: err}
	var rejection *auth.Error
	if errors.As(err, &rejection) {
		v.Rule = rejection.Rule
	}
	return v
}

// VerdictOf makes a verdict of an error of Parse or Verify.
func VerdictOf(err error) Verdict {
	v := Verdict{Outcome: Dropped, Check: 1, Err: err}
	var d *Drop
	if errors.As(err, &d) {
		v.Check = d.Check
	}
	return v
}

// Cites lists the events whose views Judge has to see: the auth events, and in
// room version 12 the create event, which the room id cites.
func (r *Received) Cites() []string {
	cites := append([]string(nil), r.event.AuthEvents...)
	if r.event.Version.HashRoomIDs && !r.isCreate() {
		cites = append(cites, r.createID())
	}
	return cites
}

func (r *Received) isCreate() bool { return r.view.Is("m.room.create", "") }

// createID is the id of the create event of the room's version 12.
func (r *Received) createID() string { return id.CreateOfRoom(r.event.RoomID) }

// Reads lists the state that Judge looks at, in the state before the event and
// in the current state.
func (r *Received) Reads() []auth.Key { return auth.Reads(r.event.Version, r.view) }

// Missing lists those events of Cites that cited does not have. Try to get them
// before judging: an event with an auth event that is not known is rejected, and
// stays so.
func (r *Received) Missing(cited Cited) []string {
	var missing []string
	for _, ref := range r.Cites() {
		if cited[ref] == nil {
			missing = append(missing, ref)
		}
	}
	return missing
}

// Cited holds the views of events that another cites, by id, with Rejected set
// on those that were.
type Cited map[string]*auth.View

// Evidence is what the caller loaded for an event. What is left out does not let
// the event pass: a nil State is an empty one, and the zero Policy is one that
// recommends nothing.
type Evidence struct {
	Cited   Cited      // the events of Cites
	Before  auth.State // the room's state before the event, at least the keys of Reads
	Current auth.State // the room's current state, at least the keys of Reads
	Policy  Policy     // from PolicyOf
}

// Judge is checks 4 to 7, for an event that comes as news: in a transaction, by
// send_join and the like, or because a later event in the transaction follows it.
func (r *Received) Judge(e Evidence) Verdict {
	if v := r.JudgePast(e.Cited, e.Before); v.Outcome != Accepted {
		return v
	}
	if err := r.check(e.Current); err != nil {
		return failed(SoftFailed, 6, fmt.Errorf("by the current state: %w", err))
	}
	if err := e.Policy.recommends(r); err != nil {
		return failed(SoftFailed, 7, err)
	}
	return Verdict{Outcome: Accepted}
}

// JudgePast is checks 4 and 5, for an event of the room's past: backfill asks for
// it, and the room's current state has no say in what was.
func (r *Received) JudgePast(cited Cited, before auth.State) Verdict {
	if v := r.JudgeOutlier(cited); v.Outcome != Accepted {
		return v
	}
	if err := r.check(before); err != nil {
		return failed(Rejected, 5, fmt.Errorf("by the state before it: %w", err))
	}
	return Verdict{Outcome: Accepted}
}

// JudgeOutlier is check 4 alone, after what check 1 left to reject, for an event whose place in the room is not
// known: one of an auth chain, or of the state that send_join answers.
func (r *Received) JudgeOutlier(cited Cited) Verdict {
	v := r.event.Version
	if field := r.event.Overlong(); field != "" {
		return failed(Rejected, 1, fmt.Errorf("%w: %s has more than %d bytes", pdu.ErrTooLarge, field, pdu.MaxField))
	}
	state := auth.StateMap{}
	var views []*auth.View
	for _, ref := range r.event.AuthEvents {
		if view := cited[ref]; view != nil && view.ID == ref {
			views = append(views, view)
			state[view.Key()] = view
		}
	}
	if err := auth.CheckAuthEvents(v, r.view, views); err != nil {
		return failed(Rejected, 4, err)
	}
	if v.HashRoomIDs {
		if create := cited[r.createID()]; create != nil && create.ID == r.createID() {
			state[create.Key()] = create
		}
	}
	if err := r.check(state); err != nil {
		return failed(Rejected, 4, fmt.Errorf("by its auth events: %w", err))
	}
	return Verdict{Outcome: Accepted}
}

func (r *Received) check(s auth.State) error {
	if s == nil {
		s = auth.StateMap{}
	}
	return auth.Check(r.event.Version, r.view, s)
}
