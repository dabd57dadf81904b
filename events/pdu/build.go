package pdu

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
)

// Builder is an event of our own before it is hashed and signed.
type Builder struct {
	Type     string
	RoomID   string // left empty for the create event of a version 12 room
	Sender   string
	StateKey *string
	Content  json.RawMessage // untrusted; nil is {}

	// Redacts goes where the room version wants it: beside content, or in it.
	Redacts string

	PrevEvents []string
	AuthEvents []string

	Depth          int64 // capped at the room version's limit
	OriginServerTS int64 // milliseconds
	Unsigned       json.RawMessage

	// EventID is for room versions 1 and 2 only; when it is empty there, one is
	// made from the content hash and the server name.
	EventID string
	// Hashes gives the reference hashes of PrevEvents and AuthEvents by event
	// id, unpadded base64, for room versions 1 and 2 only.
	Hashes map[string]string
}

// Build makes the event: canonical bytes with content hash and signature.
// All format checks and size limits of Parse hold for it. Errors wrap
// ErrBadJSON (content or unsigned), ErrTooLarge or ErrBadEvent.
func (b *Builder) Build(v *roomversion.Version, serverName, keyID string, key ed25519.PrivateKey) (*Event, error) {
	e := &Event{
		RoomID: b.RoomID, Type: b.Type, Sender: b.Sender, StateKey: b.StateKey,
		Depth: b.Depth, OriginServerTS: b.OriginServerTS,
		PrevEvents: b.PrevEvents, AuthEvents: b.AuthEvents,
		Version: v,
	}
	var err error
	if e.Content, err = b.content(v); err != nil {
		return nil, err
	}
	if b.Unsigned != nil {
		if e.Unsigned, err = object(v, "unsigned", b.Unsigned); err != nil {
			return nil, err
		}
	}
	if e.Type == "m.room.redaction" {
		e.Redacts = b.Redacts
		if v.RedactsInContent {
			e.Redacts, _ = canonicaljson.String(canonicaljson.Get(e.Content, "redacts"))
		}
	}
	if v.StrictJSON && e.Depth > canonicaljson.MaxInt {
		e.Depth = canonicaljson.MaxInt
	}

	all := e.members(b)
	hash := contentHash(all)
	if v.GivenEventIDs() {
		if e.ID = b.EventID; e.ID == "" {
			e.ID = "$" + base64.RawURLEncoding.EncodeToString(hash[:15]) + ":" + serverName
			all = set(all, "event_id", canonicaljson.AppendString(nil, e.ID))
			hash = contentHash(all)
		}
	}
	all = set(all, "hashes", hashesJSON(hash))
	e.raw = addSignature(all, signable(v, all), serverName, keyID, key)
	if !v.GivenEventIDs() {
		e.ID = eventID(v, referenceHash(v, all))
	}
	if v.HashRoomIDs && e.isCreate() {
		if b.RoomID != "" {
			return nil, badEvent("a create event of room version %s has no room_id", v.ID)
		}
		e.RoomID = id.RoomOfCreate(e.ID)
	}
	if len(e.raw) > MaxSize {
		return nil, fmt.Errorf("%w: event has %d bytes, the limit is %d", ErrTooLarge, len(e.raw), MaxSize)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if field := e.Overlong(); field != "" {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, field, MaxField)
	}
	// Build's caller may go on using its slices.
	e.PrevEvents = append([]string(nil), b.PrevEvents...)
	e.AuthEvents = append([]string(nil), b.AuthEvents...)
	return e, nil
}

// Template is the event without hashes and signatures, which make_join,
// make_leave and make_knock answer and the other server completes.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func (b *Builder) Template(v *roomversion.Version) (json.RawMessage, error) {
	content, err := b.content(v)
	if err != nil {
		return nil, err
	}
	e := &Event{Content: content, Depth: b.Depth, OriginServerTS: b.OriginServerTS, Version: v}
	return without(e.members(b)), nil
}

// content is the canonical content, with redacts where it belongs.
func (b *Builder) content(v *roomversion.Version) ([]byte, error) {
	raw := b.Content
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	all, canonical, err := open(v, raw)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	if b.Redacts == "" || b.Type != "m.room.redaction" || !v.RedactsInContent {
		return canonical, nil
	}
	return without(set(all, "redacts", canonicaljson.AppendString(nil, b.Redacts))), nil
}

func object(v *roomversion.Version, what string, raw []byte) ([]byte, error) {
	_, canonical, err := open(v, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return canonical, nil
}

// members are those of the event without hashes and signatures, in canonical order.
func (e *Event) members(b *Builder) members {
	text := func(s string) []byte { return canonicaljson.AppendString(make([]byte, 0, len(s)+2), s) }
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	all := make(members, 0, 14)
	add := func(key string, value []byte) {
		if value != nil {
			all = append(all, canonicaljson.Member{Key: key, Value: value})
		}
	}
	add("auth_events", b.references(e.Version, b.AuthEvents))
	add("content", e.Content)
	add("depth", number(e.Depth))
	if e.Version.GivenEventIDs() && b.EventID != "" {
		add("event_id", text(b.EventID))
	}
	add("origin_server_ts", number(e.OriginServerTS))
	add("prev_events", b.references(e.Version, b.PrevEvents))
	if b.Redacts != "" && b.Type == "m.room.redaction" && !e.Version.RedactsInContent {
		add("redacts", text(b.Redacts))
	}
	if b.RoomID != "" {
		add("room_id", text(b.RoomID))
	}
	add("sender", text(b.Sender))
	if b.StateKey != nil {
		add("state_key", text(*b.StateKey))
	}
	add("type", text(b.Type))
	add("unsigned", e.Unsigned)
	return all
}

// references writes auth_events or prev_events.
func (b *Builder) references(v *roomversion.Version, ids []string) []byte {
	dst := append(make([]byte, 0, 2+48*len(ids)), '[')
	for i, ref := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !v.GivenEventIDs() {
			dst = canonicaljson.AppendString(dst, ref)
			continue
		}
		dst = append(dst, '[')
		dst = canonicaljson.AppendString(dst, ref)
		dst = append(dst, ',', '{')
		if hash, ok := b.Hashes[ref]; ok {
			dst = append(dst, `"sha256":`...)
			dst = canonicaljson.AppendString(dst, hash)
		}
		dst = append(dst, '}', ']')
	}
	return append(dst, ']')
}
