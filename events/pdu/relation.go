package pdu

import (
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
)

// The relationship types that servers act on.
//
// https://spec.matrix.org/v1.19/client-server-api/#relationship-types
const (
	RelAnnotation = "m.annotation"
	RelReplace    = "m.replace"
	RelThread     = "m.thread"
	RelReference  = "m.reference"
)

// Relation is what m.relates_to says: the event is a child of another.
type Relation struct {
	Type    string
	EventID string // of the parent
	Key     string // of an annotation
}

// Relation returns the relationship of the event, if it has one. One that does not
// match the schema is none, and a rich reply is none either: it has no rel_type.
// Neither string has more than MaxField bytes, and the event id no '#', which is in
// no id that a server makes.
//
// https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
func (e *Event) Relation() (Relation, bool) {
	return RelationOf(e.Content)
}

// RelationOf is Event.Relation for the content of an event to be.
func RelationOf(content []byte) (Relation, bool) {
	if !canonicaljson.IsObject(content) {
		return Relation{}, false
	}
	object := canonicaljson.Get(content, "m.relates_to")
	if object == nil || !canonicaljson.IsObject(object) {
		return Relation{}, false
	}
	var r Relation
	r.Type, _ = canonicaljson.String(canonicaljson.Get(object, "rel_type"))
	r.EventID, _ = canonicaljson.String(canonicaljson.Get(object, "event_id"))
	if r.Type == "" || len(r.Type) > MaxField || len(r.EventID) < 2 || len(r.EventID) > MaxField ||
		r.EventID[0] != '$' || strings.Contains(r.EventID, "#") {
		return Relation{}, false
	}
	if r.Type == RelAnnotation {
		r.Key, _ = canonicaljson.String(canonicaljson.Get(object, "key"))
	}
	return r, true
}

// Replaces reports whether the event may be shown as a replacement of the original:
// one of its sender and type in its room, with m.new_content unless that is
// encrypted, of a message that is no replacement itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
func (e *Event) Replaces(original *Event) bool {
	r, ok := e.Relation()
	if !ok || r.Type != RelReplace || r.EventID != original.ID || !e.MayReplace() {
		return false
	}
	of, _ := original.Relation()
	return e.RoomID == original.RoomID && e.Sender == original.Sender && e.Type == original.Type &&
		!original.IsState() && of.Type != RelReplace
}

// MayReplace is what of Replaces can be said without the original.
func (e *Event) MayReplace() bool {
	content := canonicaljson.Get(e.Content, "m.new_content")
	return !e.IsState() && (e.Type == "m.room.encrypted" || content != nil && canonicaljson.IsObject(content))
}
