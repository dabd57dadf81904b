// Package room makes rooms whose events exist three times: as bytes, as our view
// of them, and as gomatrixserverlib's. So what is compared is always the same
// room.
package room

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// KeyID is the id of Key in the signatures of every server.
const KeyID = "ed25519:1"

// Key signs for every server. It is the same in each run.
var Key = ed25519.NewKeyFromSeed([]byte("the seed of the oracle's one key"))

// Event is one event as each of us sees it.
type Event struct {
	*pdu.Event
	View *auth.View
	PDU  gomatrixserverlib.PDU
}

// Room holds the events of one room. It is a stateres.Source.
type Room struct {
	V      *roomversion.Version
	ID     string // empty until a version 12 room has its create event
	Theirs gomatrixserverlib.IRoomVersion
	Events map[string]*Event
}

// New begins a room.
func New(v *roomversion.Version) *Room {
	r := &Room{V: v, Theirs: gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(v.ID)), Events: map[string]*Event{}}
	if !v.HashRoomIDs {
		r.ID = "!room:x"
	}
	return r
}

// Draft is an event before it has an id.
type Draft struct {
	Type, Sender, Content string
	StateKey              *string
	Prev, Auth            []string
	Redacts               string
	TS, Depth             int64
	SignedBy              string // a server, if the signature matters
	EventID               string // for room versions 1 and 2; made up if empty
	Apart                 bool   // the event is not added to Events
}

// Key makes a state key.
func StateKey(s string) *string { return &s }

// JSON writes the event, in canonical form if the content is.
func (r *Room) JSON(d Draft) []byte {
	text := func(dst []byte, key, value string) []byte {
		return canonicaljson.AppendString(append(dst, `,"`+key+`":`...), value)
	}
	dst := append([]byte(`{"auth_events":`), r.references(d.Auth)...)
	dst = append(append(dst, `,"content":`...), d.Content...)
	dst = strconv.AppendInt(append(dst, `,"depth":`...), d.Depth, 10)
	if r.V.GivenEventIDs() {
		id := d.EventID
		if id == "" {
			id = fmt.Sprintf("$%d:x", len(r.Events))
		}
		dst = text(dst, "event_id", id)
	}
	dst = append(dst, `,"hashes":{"sha256":""}`...)
	dst = strconv.AppendInt(append(dst, `,"origin_server_ts":`...), d.TS, 10)
	dst = append(append(dst, `,"prev_events":`...), r.references(d.Prev)...)
	if d.Redacts != "" {
		dst = text(dst, "redacts", d.Redacts)
	}
	if !r.V.HashRoomIDs || d.Type != "m.room.create" || d.StateKey == nil || *d.StateKey != "" {
		dst = text(dst, "room_id", r.ID)
	}
	dst = text(dst, "sender", d.Sender)
	dst = append(dst, `,"signatures":{}`...)
	if d.StateKey != nil {
		dst = text(dst, "state_key", *d.StateKey)
	}
	return append(text(dst, "type", d.Type), '}')
}

func (r *Room) references(ids []string) []byte {
	dst := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		if r.V.GivenEventIDs() {
			dst = append(canonicaljson.AppendString(append(dst, '['), id), `,{"sha256":""}]`...)
		} else {
			dst = canonicaljson.AppendString(dst, id)
		}
	}
	return append(dst, ']')
}

// Make makes an event of a draft and adds it to the room.
func (r *Room) Make(d Draft) (*Event, error) {
	raw := r.JSON(d)
	if d.SignedBy != "" {
		var err error
		if raw, err = pdu.HashAndSign(r.V, raw, d.SignedBy, KeyID, Key); err != nil {
			return nil, err
		}
	}
	ours, err := pdu.Parse(r.V, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, raw)
	}
	view, err := auth.ViewOf(ours)
	if err != nil {
		return nil, err
	}
	theirs, err := r.Theirs.NewEventFromTrustedJSONWithEventID(ours.ID, raw, false)
	if err != nil {
		return nil, fmt.Errorf("gomatrixserverlib: %w: %s", err, raw)
	}
	e := &Event{ours, view, theirs}
	if r.V.HashRoomIDs && ours.Is("m.room.create", "") && r.ID == "" {
		r.ID = ours.RoomID
	}
	if !d.Apart {
		r.Events[ours.ID] = e
	}
	return e, nil
}

// State makes a state event that cites what the auth events selection names of
// the state before it, and returns the state after it.
func (r *Room) State(before stateres.StateMap, typ, key, sender, content string, ts int64) (*Event, stateres.StateMap) {
	d := Draft{Type: typ, StateKey: &key, Sender: sender, Content: content, TS: ts, Depth: ts}
	view, err := auth.ViewOfBuilder(r.V, &pdu.Builder{Type: typ, RoomID: r.ID, Sender: sender, StateKey: &key, Content: json.RawMessage(content)})
	if err != nil {
		panic(err)
	}
	for _, k := range auth.Needed(r.V, view) {
		if id := before[k]; id != "" {
			d.Auth = append(d.Auth, id)
		}
	}
	if typ != "m.room.create" {
		// Two, so that nobody is taken for the creator who joins.
		d.Prev = []string{"$one:x", "$two:x"}
	}
	e, err := r.Make(d)
	if err != nil {
		panic(err)
	}
	after := maps.Clone(before)
	if after == nil {
		after = stateres.StateMap{}
	}
	after[e.View.Key()] = e.ID
	return e, after
}

// Views implements stateres.Source.
func (r *Room) Views(ids []string) ([]*auth.View, error) {
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		if e := r.Events[id]; e != nil {
			out[i] = e.View
		}
	}
	return out, nil
}

// Begin makes a public room of @alice:x with the power levels in users, and what
// else is in the state of a new room.
func (r *Room) Begin(users string) stateres.StateMap {
	_, s := r.State(nil, "m.room.create", "", "@alice:x", `{"creator":"@alice:x","room_version":"`+r.V.ID+`"}`, 1)
	create := s[auth.Key{Type: "m.room.create"}]
	d := Draft{Type: "m.room.member", StateKey: StateKey("@alice:x"), Sender: "@alice:x", Content: `{"membership":"join"}`, TS: 2, Depth: 2, Prev: []string{create}}
	if !r.V.HashRoomIDs {
		d.Auth = []string{create}
	}
	alice, err := r.Make(d)
	if err != nil {
		panic(err)
	}
	s[alice.View.Key()] = alice.ID
	if users != "" {
		_, s = r.State(s, "m.room.power_levels", "", "@alice:x", `{"users":`+users+`}`, 3)
	}
	_, s = r.State(s, "m.room.join_rules", "", "@alice:x", `{"join_rule":"public"}`, 4)
	return s
}

// PDUs lists the events of a state as gomatrixserverlib wants them.
func (r *Room) PDUs(s stateres.StateMap) []gomatrixserverlib.PDU {
	list := make([]gomatrixserverlib.PDU, 0, len(s))
	for _, id := range s {
		list = append(list, r.Events[id].PDU)
	}
	return list
}

// UserID is how gomatrixserverlib is told that a sender is a user id.
func UserID(_ spec.RoomID, sender spec.SenderID) (*spec.UserID, error) {
	return spec.NewUserID(string(sender), true)
}
