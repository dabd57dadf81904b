package pdu

import (
	"encoding/json"
	"strconv"

	"github.com/virga-im/virga/events/canonicaljson"
)

// ClientFormat says how a client sees an event.
type ClientFormat struct {
	// OmitRoomID leaves room_id out, as sync wants it.
	OmitRoomID bool
	// Unsigned is merged over the event's own unsigned: age, transaction_id,
	// prev_content, membership, redacted_because, m.relations. It must be valid
	// JSON; nil adds nothing.
	Unsigned json.RawMessage
	// Content replaces the event's content when it is not nil.
	Content json.RawMessage
}

// ClientJSON is the event in the format of the client-server API. A redaction
// has redacts beside its content and in it, whatever its room version says.
//
// Of the event's own unsigned, which any server on the way may have written,
// nothing is shown that only our server can know: age, membership, m.relations,
// prev_content, redacted_because and transaction_id come from opts alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
func (e *Event) ClientJSON(opts ClientFormat) json.RawMessage {
	content := []byte(e.Content)
	if opts.Content != nil {
		content = opts.Content
	}
	if e.Redacts != "" && canonicaljson.Get(content, "redacts") == nil {
		content = merge(content, canonicaljson.AppendObject(nil, members{
			{Key: "redacts", Value: canonicaljson.AppendString(nil, e.Redacts)},
		}), nil)
	}
	dst := make([]byte, 0, len(content)+len(e.Unsigned)+len(opts.Unsigned)+384)
	dst = append(dst, `{"content":`...)
	dst = append(dst, content...)
	dst = appendField(dst, "event_id", e.ID)
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, e.OriginServerTS, 10)
	if e.Redacts != "" {
		dst = appendField(dst, "redacts", e.Redacts)
	}
	if !opts.OmitRoomID {
		dst = appendField(dst, "room_id", e.RoomID)
	}
	dst = appendField(dst, "sender", e.Sender)
	if e.StateKey != nil {
		dst = appendField(dst, "state_key", *e.StateKey)
	}
	dst = appendField(dst, "type", e.Type)
	if unsigned := merge(e.Unsigned, opts.Unsigned, ours); len(unsigned) > 2 {
		dst = append(dst, `,"unsigned":`...)
		dst = append(dst, unsigned...)
	}
	return append(dst, '}')
}

// StrippedJSON is the stripped state of a state event, which shows a room to
// people who are not in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
func (e *Event) StrippedJSON() json.RawMessage {
	dst := make([]byte, 0, len(e.Content)+192)
	dst = append(dst, `{"content":`...)
	dst = append(dst, e.Content...)
	dst = appendField(dst, "sender", e.Sender)
	if e.StateKey != nil {
		dst = appendField(dst, "state_key", *e.StateKey)
	}
	dst = appendField(dst, "type", e.Type)
	return append(dst, '}')
}

// ours are the keys of unsigned that only our own server may tell a client.
func ours(key string) bool {
	switch key {
	case "age", "age_ts", "membership", "m.relations", "prev_content", "redacted_because", "transaction_id":
		return true
	}
	return false
}

func appendField(dst []byte, key, value string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, key...)
	dst = append(dst, '"', ':')
	return canonicaljson.AppendString(dst, value)
}

// merge writes the members of base, except those for which drop says so or that
// over has too, and those of over.
func merge(base, over []byte, drop func(string) bool) []byte {
	if len(base) == 0 {
		return over
	}
	var all members
	for key, value := range canonicaljson.Fields(base) {
		if drop != nil && drop(key) || len(over) > 0 && canonicaljson.Get(over, key) != nil {
			continue
		}
		all = append(all, canonicaljson.Member{Key: key, Value: value})
	}
	for key, value := range canonicaljson.Fields(over) {
		all = append(all, canonicaljson.Member{Key: key, Value: value})
	}
	return canonicaljson.AppendObject(nil, all)
}
