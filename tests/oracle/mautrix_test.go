package oracle

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json/v2"
	"time"

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
