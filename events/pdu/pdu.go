// Package pdu is the Matrix event as servers exchange it: reading it from
// untrusted bytes, making it, hashing, signing, redacting it, and showing it to
// clients.
//
// An event is its bytes. What was received is kept and passed on as it came;
// the fields of Event are a projection of it.
//
// https://spec.matrix.org/v1.19/server-server-api/#pdus
package pdu

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
)

const (
	// MaxSize is the largest event in bytes: canonical JSON, signatures and
	// unsigned included.
	//
	// https://spec.matrix.org/v1.19/client-server-api/#size-limits
	MaxSize = 65536
	// MaxField is the largest type, state_key, sender, room_id and event_id in bytes.
	MaxField = 255
	// MaxAuthEvents and MaxPrevEvents bound the references of an event.
	MaxAuthEvents = 10
	MaxPrevEvents = 20
)

var (
	// ErrBadJSON: the bytes are not JSON, or not the JSON that the room version
	// allows. M_BAD_JSON.
	ErrBadJSON = errors.New("bad JSON")
	// ErrTooLarge: the event or one of its fields is beyond the size limits.
	// M_TOO_LARGE.
	ErrTooLarge = errors.New("too large")
	// ErrBadEvent: the JSON is fine but does not have the event format of the
	// room version. M_BAD_JSON for clients; servers drop the event.
	ErrBadEvent = errors.New("not a valid event")
)

func badEvent(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadEvent, fmt.Sprintf(format, args...))
}

// Event is a persistent data unit. It is immutable: neither the fields nor the
// bytes they point into may be changed, and it may be shared freely.
type Event struct {
	ID       string
	RoomID   string // in room version 12, also of the create event, which does not carry it
	Type     string
	Sender   string
	StateKey *string // nil when the event is not a state event

	Depth          int64
	OriginServerTS int64 // milliseconds

	PrevEvents []string
	AuthEvents []string

	Redacts  string // the event that an m.room.redaction redacts, wherever its room version puts it
	Content  json.RawMessage
	Unsigned json.RawMessage // nil when there is none; nobody signed it, so believe nothing in it

	Version *roomversion.Version

	raw []byte
}

// JSON returns the exact bytes of the event, as received or as built. They must
// not be changed.
func (e *Event) JSON() []byte { return e.raw }

// IsState reports whether e is a state event.
func (e *Event) IsState() bool { return e.StateKey != nil }

// Is reports whether e is the state event of this type and state key.
func (e *Event) Is(typ, stateKey string) bool {
	return e.StateKey != nil && e.Type == typ && *e.StateKey == stateKey
}

// Parse reads an event from untrusted bytes: valid JSON for the room version,
// the event format of the room version, the size limits. It computes the event
// id. It does not check hash and signatures (CheckHash, Verify) nor the auth
// rules. The event keeps raw.
//
// In room version 12 a create event gets its room id from its event id; one that
// carries a room_id is refused here (auth rule 1.2 would reject it).
//
// Errors wrap ErrBadJSON, ErrTooLarge or ErrBadEvent.
func Parse(v *roomversion.Version, raw []byte) (*Event, error) {
	members, canonical, err := open(v, raw)
	if err != nil {
		return nil, err
	}
	if len(canonical) > MaxSize {
		return nil, fmt.Errorf("%w: event has %d bytes, the limit is %d", ErrTooLarge, len(canonical), MaxSize)
	}
	e := &Event{Version: v, raw: raw}
	if err := e.project(members, true); err != nil {
		return nil, err
	}
	if !v.GivenEventIDs() {
		e.ID = eventID(v, referenceHash(v, members))
	}
	if v.HashRoomIDs && e.isCreate() {
		e.RoomID = id.RoomOfCreate(e.ID)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

// Load reads an event from bytes that Parse or Build accepted before, such as
// those in our own store, with the id it had then. Nothing is checked or hashed.
// The event keeps raw.
func Load(v *roomversion.Version, eventID string, raw []byte) (*Event, error) {
	e := &Event{ID: eventID, Version: v, raw: raw}
	var members [24]canonicaljson.Member
	list := members[:0]
	for key, value := range canonicaljson.Fields(raw) {
		list = append(list, canonicaljson.Member{Key: key, Value: value})
	}
	if err := e.project(list, false); err != nil {
		return nil, fmt.Errorf("load event %s: %w", eventID, err)
	}
	if v.HashRoomIDs && e.isCreate() {
		e.RoomID = id.RoomOfCreate(e.ID)
	}
	return e, nil
}

// ID computes the id of an event from its bytes.
func ID(v *roomversion.Version, raw []byte) (string, error) {
	members, _, err := open(v, raw)
	if err != nil {
		return "", err
	}
	if v.GivenEventIDs() {
		s, ok := canonicaljson.String(find(members, "event_id"))
		if !ok {
			return "", badEvent("no event_id")
		}
		return s, nil
	}
	return eventID(v, referenceHash(v, members)), nil
}

func (e *Event) isCreate() bool { return e.Is("m.room.create", "") }

// open reads untrusted bytes that must be an object.
func open(v *roomversion.Version, raw []byte) ([]canonicaljson.Member, []byte, error) {
	members, canonical, err := canonicaljson.Parse(raw, v.JSONMode())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBadJSON, err)
	}
	return members, canonical, nil
}

func find(members []canonicaljson.Member, key string) []byte {
	for i := range members {
		if members[i].Key == key {
			return members[i].Value
		}
	}
	return nil
}
