package main

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/tests/oracle/room"
)

var errWrong = errors.New("the answer is wrong")

// A task is one thing to do with an event, as each of us does it. bare is the
// part of it that is ed25519's; theirs may be nil where they have no such call.
type task struct {
	name         string
	ours, theirs func() error
	bare         func() error
}

func newEventTable() *table {
	return newTable("an event of version 12", "~ours", "~gomatrixserverlib", "~times ours", "~bare ed25519", "~ours over bare")
}

func eventTable(c clock) (*table, error) {
	tasks, err := eventTasks()
	if err != nil {
		return nil, err
	}
	t := newEventTable()
	for _, x := range tasks {
		m, err := c.time(x.ours, x.theirs, x.bare)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		ours, theirs, bare := m[0], m[1], m[2]
		t.row(x.name, ours, theirs, times(theirs, ours), bare, times(ours, bare))
	}
	return t, nil
}

func eventTasks() ([]task, error) {
	v, _ := roomversion.Get("12")
	r := room.New(v)
	s := r.Begin(`{"@bob:x":50}`)
	message, err := typical(r, s)
	if err != nil {
		return nil, err
	}
	raw, theirs := message.JSON(), r.Theirs
	parsed, err := theirs.NewEventFromTrustedJSON(raw, false)
	if err != nil {
		return nil, err
	}
	pub := room.Key.Public().(ed25519.PublicKey)
	signed, err := pdu.Redact(v, raw)
	if err != nil {
		return nil, err
	}
	sig := ed25519.Sign(room.Key, signed)
	tasks := []task{
		{
			name: "read: format, id, content hash",
			ours: func() error {
				if _, err := pdu.Parse(v, raw); err != nil {
					return err
				}
				if ok, err := pdu.CheckHash(v, raw); !ok || err != nil {
					return errors.Join(err, errWrong)
				}
				return nil
			},
			theirs: func() error {
				e, err := theirs.NewEventFromUntrustedJSON(raw)
				if err != nil {
					return err
				}
				if e.Redacted() || e.EventID() != message.ID {
					return errWrong
				}
				return nil
			},
		},
		{
			name: "read, without the hash", // theirs has no such call
			ours: func() error { _, err := pdu.Parse(v, raw); return err },
		},
		{
			name:   "read what was read before",
			ours:   func() error { _, err := pdu.Load(v, message.ID, raw); return err },
			theirs: func() error { _, err := theirs.NewEventFromTrustedJSONWithEventID(message.ID, raw, false); return err },
		},
		{
			name: "event id",
			ours: func() error {
				if id, err := pdu.ID(v, raw); err != nil || id != message.ID {
					return errors.Join(err, errWrong)
				}
				return nil
			},
			theirs: func() error {
				e, err := theirs.NewEventFromTrustedJSON(raw, false)
				if err != nil || e.EventID() != message.ID {
					return errors.Join(err, errWrong)
				}
				return nil
			},
		},
		{
			name: "content hash", // theirs has no such call
			ours: func() error {
				if ok, err := pdu.CheckHash(v, raw); !ok || err != nil {
					return errors.Join(err, errWrong)
				}
				return nil
			},
		},
		{
			name:   "sign",
			ours:   func() error { _, err := pdu.Sign(v, raw, "x", room.KeyID, room.Key); return err },
			theirs: func() error { parsed.Sign("x", room.KeyID, room.Key); return nil },
			bare:   func() error { ed25519.Sign(room.Key, signed); return nil },
		},
		{
			name: "verify",
			ours: func() error { return pdu.Verify(v, raw, "x", room.KeyID, pub) },
			theirs: func() error {
				redacted, err := theirs.RedactEventJSON(raw)
				if err != nil {
					return err
				}
				return gomatrixserverlib.VerifyJSON("x", room.KeyID, pub, redacted)
			},
			bare: func() error {
				if !ed25519.Verify(pub, signed, sig) {
					return errWrong
				}
				return nil
			},
		},
	}
	for _, check := range []struct{ name, typ, key, sender, content string }{
		{"authorise a message", "m.room.message", "", "@bob:x", `{"body":"hi","msgtype":"m.text"}`},
		{"authorise a join", "m.room.member", "@dave:y", "@dave:y", `{"membership":"join"}`},
		{"authorise a change of power levels", "m.room.power_levels", "", "@alice:x", `{"users":{"@bob:x":60}}`},
	} {
		x, err := authTask(r, s, check.name, check.typ, check.key, check.sender, check.content)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, x)
	}
	return tasks, nil
}

// typical is a message as people send them, signed.
func typical(r *room.Room, s stateres.StateMap) (*pdu.Event, error) {
	_, after := r.State(s, "m.room.member", "@bob:x", "@bob:x", `{"membership":"join","displayname":"Bob"}`, 10)
	b := pdu.Builder{
		Type: "m.room.message", RoomID: r.ID, Sender: "@bob:x", Depth: 11, OriginServerTS: 1767225600000,
		Content:    json.RawMessage(`{"body":"> <@alice:x> Sugar?\n\nTwo, please. And is there any milk?","m.mentions":{"user_ids":["@alice:x"]},"m.relates_to":{"m.in_reply_to":{"event_id":"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"}},"msgtype":"m.text"}`),
		PrevEvents: []string{after[auth.Key{Type: "m.room.member", StateKey: "@bob:x"}]},
		AuthEvents: []string{after[auth.Key{Type: "m.room.power_levels"}], after[auth.Key{Type: "m.room.member", StateKey: "@bob:x"}]},
	}
	return b.Build(r.V, "x", room.KeyID, room.Key)
}

// authTask judges an event that both allow, by the state of a room that bob is in.
func authTask(r *room.Room, s stateres.StateMap, name, typ, key, sender, content string) (task, error) {
	_, s = r.State(s, "m.room.member", "@bob:x", "@bob:x", `{"membership":"join"}`, 10)
	d := room.Draft{Type: typ, Sender: sender, Content: content, Prev: []string{"$one:x", "$two:x"}, TS: 20, Depth: 20}
	if typ != "m.room.message" {
		d.StateKey = &key
	}
	e, err := r.Make(d)
	if err != nil {
		return task{}, err
	}
	state := auth.StateMap{}
	for k, id := range s {
		state[k] = r.Events[id].View
	}
	provider, err := gomatrixserverlib.NewAuthEvents(r.PDUs(s))
	if err != nil {
		return task{}, err
	}
	return task{
		name:   name,
		ours:   func() error { return auth.Check(r.V, e.View, state) },
		theirs: func() error { return gomatrixserverlib.Allowed(e.PDU, provider, room.UserID) },
	}, nil
}
