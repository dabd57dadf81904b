package oracle

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json/v2"
	"time"

	"maunium.net/go/mautrix/crypto/canonicaljson"
	"maunium.net/go/mautrix/federation/eventauth"
	"maunium.net/go/mautrix/federation/pdu"
	"maunium.net/go/mautrix/id"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

// mautrixPDU reads an event of room version 3 or later.
func mautrixPDU(e *room.Event) (*pdu.PDU, error) {
	out := new(pdu.PDU)
	return out, json.Unmarshal(e.JSON(), out)
}

func mautrixKey(string, id.KeyID, time.Time) (id.SigningKey, time.Time, error) {
	pub := room.Key.Public().(ed25519.PublicKey)
	return id.SigningKey(base64.RawStdEncoding.EncodeToString(pub)), time.UnixMilli(1 << 50), nil
}

// mautrixAllows gives mautrix-go the events that it wants: those of the auth
// events selection. It judges no events of room versions 1 and 2.
func mautrixAllows(v *roomversion.Version, e *room.Event, s map[auth.Key]*room.Event) (o outcome, ok bool) {
	if v.GivenEventIDs() {
		return o, false
	}
	return safely(func() outcome {
		event, err := mautrixPDU(e)
		if err != nil {
			return refused(err)
		}
		events := []*pdu.PDU{}
		for _, k := range auth.Needed(v, e.View) {
			if a := s[k]; a != nil {
				p, err := mautrixPDU(a)
				if err != nil {
					return refused(err)
				}
				events = append(events, p)
			}
		}
		get := func(ids []id.EventID) ([]*pdu.PDU, error) {
			if create := s[auth.Key{Type: "m.room.create"}]; create != nil && len(ids) == 1 && string(ids[0]) == create.ID {
				p, err := mautrixPDU(create)
				return []*pdu.PDU{p}, err
			}
			return nil, nil
		}
		return outcomeOf(eventauth.Authorize(id.RoomVersion(v.ID), event, events, get, mautrixKey))
	}), true
}

// mautrixReads asks about an event as bytes. It has two kinds of events: those
// of room versions 1 and 2, and all others.
func mautrixReads(v *roomversion.Version, raw []byte) map[string]outcome {
	version := id.RoomVersion(v.ID)
	all := map[string]outcome{}
	ask := func(what string, f func(e pdu.AnyPDU) (string, error)) {
		all[what] = safely(func() outcome {
			e, err := mautrixParses(v, raw)
			if err != nil {
				return refused(err)
			}
			return textOf(f(e))
		})
	}
	ask("event id", func(e pdu.AnyPDU) (string, error) {
		id, err := e.GetEventID(version)
		return string(id), err
	})
	ask("redaction", func(e pdu.AnyPDU) (string, error) {
		var redacted any
		switch e := e.(type) {
		case *pdu.PDU:
			redacted = e.Redact(version)
		case *pdu.RoomV1PDU:
			redacted = e.Redact(version)
		}
		b, err := canonicaljson.Marshal(redacted)
		return string(b), err
	})
	ask("content hash", func(e pdu.AnyPDU) (string, error) {
		hash, err := e.CalculateContentHash()
		return base64.RawStdEncoding.EncodeToString(hash[:]), err
	})
	return all
}

func mautrixParses(v *roomversion.Version, raw []byte) (pdu.AnyPDU, error) {
	if v.GivenEventIDs() {
		e := new(pdu.RoomV1PDU)
		return e, json.Unmarshal(raw, e)
	}
	e := new(pdu.PDU)
	return e, json.Unmarshal(raw, e)
}

func mautrixVerifies(v *roomversion.Version, raw []byte) (outcome, bool) {
	return safely(func() outcome {
		e, err := mautrixParses(v, raw)
		if err != nil {
			return refused(err)
		}
		return outcomeOf(e.VerifySignature(id.RoomVersion(v.ID), "x", mautrixKey))
	}), true
}

func mautrixSigns(v *roomversion.Version, raw []byte) ([]byte, error) {
	e, err := mautrixParses(v, raw)
	if err != nil {
		return nil, err
	}
	if err := e.Sign(id.RoomVersion(v.ID), "x", room.KeyID, room.Key); err != nil {
		return nil, err
	}
	return json.Marshal(e)
}
