package pdu

import (
	"fmt"
	"unicode/utf8"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
)

// required are the properties that every event format demands, besides
// event_id and room_id, which depend on the room version.
const required = 9

// project fills the fields from the members of the event, and fails when one
// has the wrong type. With strict, required properties must be there.
func (e *Event) project(members []canonicaljson.Member, strict bool) error {
	seen := 0
	for _, m := range members {
		ok := true
		switch m.Key {
		case "auth_events":
			e.AuthEvents, ok = e.references(m.Value)
			seen++
		case "content":
			e.Content, ok = m.Value, canonicaljson.IsObject(m.Value)
			seen++
		case "depth":
			e.Depth, ok = canonicaljson.Int(m.Value)
			seen++
		case "event_id":
			if e.Version.GivenEventIDs() {
				e.ID, ok = canonicaljson.String(m.Value)
			}
		case "hashes":
			// Without a SHA-256 there is nothing that check 3 could compare.
			_, ok = canonicaljson.String(canonicaljson.Get(m.Value, "sha256"))
			seen++
		case "origin_server_ts":
			e.OriginServerTS, ok = canonicaljson.Int(m.Value)
			seen++
		case "prev_events":
			e.PrevEvents, ok = e.references(m.Value)
			seen++
		case "redacts":
			// Not required to be a string: some servers wrote null.
			if !e.Version.RedactsInContent {
				e.Redacts, _ = canonicaljson.String(m.Value)
			}
		case "room_id":
			e.RoomID, ok = canonicaljson.String(m.Value)
		case "sender":
			e.Sender, ok = canonicaljson.String(m.Value)
			seen++
		case "signatures":
			ok = canonicaljson.IsObject(m.Value)
			seen++
		case "state_key":
			var key string
			key, ok = canonicaljson.String(m.Value)
			e.StateKey = &key
		case "type":
			e.Type, ok = canonicaljson.String(m.Value)
			seen++
		case "unsigned":
			e.Unsigned, ok = m.Value, canonicaljson.IsObject(m.Value)
		}
		if !ok {
			return badEvent("%s has the wrong type", m.Key)
		}
	}
	if strict && seen != required {
		return badEvent("a required property is missing")
	}
	if strict && e.Version.HashRoomIDs && e.isCreate() && find(members, "room_id") != nil {
		return badEvent("a create event of room version %s has no room_id", e.Version.ID)
	}
	if e.Type != "m.room.redaction" {
		e.Redacts = ""
	} else if e.Version.RedactsInContent {
		e.Redacts, _ = canonicaljson.String(canonicaljson.Get(e.Content, "redacts"))
	}
	return nil
}

// references reads auth_events or prev_events: event ids, or in room versions 1
// and 2 pairs of event id and hashes.
func (e *Event) references(value []byte) ([]string, bool) {
	if !canonicaljson.IsArray(value) {
		return nil, false
	}
	var refs []string
	for item := range canonicaljson.Elements(value) {
		if e.Version.GivenEventIDs() {
			if !canonicaljson.IsArray(item) {
				return nil, false
			}
			var first []byte
			n := 0
			for part := range canonicaljson.Elements(item) {
				if n == 0 {
					first = part
				}
				n++
			}
			if n != 2 {
				return nil, false
			}
			item = first
		}
		s, ok := canonicaljson.String(item)
		if !ok {
			return nil, false
		}
		if refs == nil {
			refs = make([]string, 0, 4)
		}
		refs = append(refs, s)
	}
	return refs, true
}

// Overlong names the field, type or state_key, that has more than 255 bytes in
// no more than 255 characters, or is "". The spec allows no such event, and Build
// makes none. But deployed servers used to count characters, and such events are
// in rooms of room versions up to 10; there, those servers now reject them instead
// of dropping them, so that the events that follow them find them.
func (e *Event) Overlong() string {
	if len(e.Type) > MaxField {
		return "type"
	}
	if e.StateKey != nil && len(*e.StateKey) > MaxField {
		return "state_key"
	}
	return ""
}

// check judges the values of an event's fields: identifiers and limits.
func (e *Event) check() error {
	fields := [5]struct{ name, value string }{
		{"type", e.Type}, {"sender", e.Sender}, {"room_id", e.RoomID}, {"event_id", e.ID},
	}
	if e.StateKey != nil {
		fields[4].name, fields[4].value = "state_key", *e.StateKey
	}
	for i, f := range fields {
		if len(f.value) <= MaxField {
			continue
		}
		if counted := i == 0 || i == 4; counted && e.Version.LongFields && utf8.RuneCountInString(f.value) <= MaxField {
			continue
		}
		return tooLong(f.name, len(f.value))
	}
	switch {
	case !id.ValidUser(e.Sender):
		return badEvent("sender is not a user id")
	case e.Version.HashRoomIDs && !id.ValidRoomHash(e.RoomID):
		return badEvent("room_id is not a room id of room version %s", e.Version.ID)
	case !e.Version.HashRoomIDs && !id.ValidRoomWithServer(e.RoomID):
		return badEvent("room_id is not a room id of room version %s", e.Version.ID)
	case !id.ValidEvent(e.ID):
		return badEvent("event_id is not an event id")
	case e.Version.GivenEventIDs() && !id.ValidServer(id.Server(e.ID)):
		return badEvent("event_id has no server name")
	case e.Depth < 0:
		return badEvent("depth is negative")
	case len(e.AuthEvents) > MaxAuthEvents:
		return badEvent("more than %d auth_events", MaxAuthEvents)
	case len(e.PrevEvents) > MaxPrevEvents:
		return badEvent("more than %d prev_events", MaxPrevEvents)
	}
	for _, refs := range [][]string{e.AuthEvents, e.PrevEvents} {
		for _, ref := range refs {
			if !id.ValidEvent(ref) {
				return badEvent("%q is not an event id", ref)
			}
		}
	}
	return nil
}

func tooLong(field string, n int) error {
	return fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrTooLarge, field, n, MaxField)
}
