// Package receipt is the seven checks that an event from another server has to
// pass, in their order, as pure functions over what the caller loaded.
//
// The types are the order. Parse is check 1 and gives an Unverified, from which
// nothing can be taken but what is needed to look for keys; Verify is checks 2
// and 3 and gives a Received; and only a Received can be judged, by checks 4 to
// 7. What the caller forgets to load fails the check that wanted it, so that
// nothing passes by omission.
//
//	u, err := receipt.Parse(v, room, raw)    // err: dropped
//	keys := ...                              // those of u.Wants()
//	r, err := u.Verify(keys, now)            // err: dropped
//	cited, before, current := ...            // r.Cites(), and r.Reads() of two states
//	verdict := r.Judge(receipt.Evidence{...})
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
package receipt

import (
	"fmt"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

// Drop is the error of Parse and Verify: the event is not one, or nobody stands
// behind it. It leaves no trace in the room.
type Drop struct {
	Check int // 1, format, or 2, signatures
	Err   error
}

func (d *Drop) Error() string { return fmt.Sprintf("check %d: %v", d.Check, d.Err) }

// Unwrap returns why: the errors of pdu.Parse, or ErrSignature.
func (d *Drop) Unwrap() error { return d.Err }

// RoomID finds the room of an event whose room version is not known yet, so that
// it can be looked up. It is "" for a create event of room version 12, which has
// none. Parse holds the event to it.
//
// Errors are *Drop.
func RoomID(raw []byte) (string, error) {
	members, _, err := canonicaljson.Parse(raw, canonicaljson.Lenient)
	if err != nil {
		return "", &Drop{1, fmt.Errorf("%w: %w", pdu.ErrBadJSON, err)}
	}
	for _, m := range members {
		if m.Key != "room_id" {
			continue
		}
		room, ok := canonicaljson.String(m.Value)
		if !ok {
			return "", &Drop{1, fmt.Errorf("%w: room_id is not a string", pdu.ErrBadEvent)}
		}
		return room, nil
	}
	return "", nil
}

// Unverified is an event that has the format of its room version. Anybody can
// have made it.
type Unverified struct {
	event *pdu.Event
	view  *auth.View
}

// Parse is check 1: the event is valid JSON, has the format of the room version
// and keeps to the limits. It must be of the room that it was sent for. The event
// keeps raw.
//
// Errors are *Drop.
func Parse(v *roomversion.Version, room string, raw []byte) (*Unverified, error) {
	e, err := pdu.Parse(v, raw)
	if err != nil {
		return nil, &Drop{1, err}
	}
	if e.RoomID != room {
		return nil, &Drop{1, fmt.Errorf("%w: it is of another room, %s", pdu.ErrBadEvent, e.RoomID)}
	}
	view, err := auth.ViewOf(e)
	if err != nil {
		return nil, &Drop{1, err}
	}
	return &Unverified{e, view}, nil
}

// ID is the id that the event has, or in room versions 1 and 2 claims.
func (u *Unverified) ID() string { return u.event.ID }

// Received is an event that its servers signed. If its content hash was wrong,
// it is the redacted event, and nothing of what was cut off is left in it.
type Received struct {
	event    *pdu.Event
	view     *auth.View
	redacted bool
}

// Event is the event, to be stored.
func (r *Received) Event() *pdu.Event { return r.event }

// View is what the rules see of it. It is shared: who stores it as rejected
// changes a copy.
func (r *Received) View() *auth.View { return r.view }

// Redacted reports whether check 3 found the content hash wrong.
func (r *Received) Redacted() bool { return r.redacted }

// hashed is check 3: an event whose content hash is wrong is redacted, on the
// assumption that all that its sender gave away was the redacted event.
func (u *Unverified) hashed() (*Received, error) {
	v, raw := u.event.Version, u.event.JSON()
	ok, err := pdu.CheckHash(v, raw)
	if err != nil {
		return nil, &Drop{1, err}
	}
	if ok {
		return &Received{event: u.event, view: u.view}, nil
	}
	if raw, err = pdu.Redact(v, raw); err != nil {
		return nil, &Drop{1, err}
	}
	again, err := Parse(v, u.event.RoomID, raw)
	if err != nil {
		return nil, err
	}
	return &Received{event: again.event, view: again.view, redacted: true}, nil
}
