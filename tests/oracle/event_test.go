package oracle

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

func theirVersion(v *roomversion.Version) gomatrixserverlib.IRoomVersion {
	return gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(v.ID))
}

// TestEventsAreHashedAlike: the event id, what redaction leaves, and the content
// hash.
func TestEventsAreHashedAlike(t *testing.T) {
	l := newLedger(t, hashes)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		for range 1500 {
			raw := signedLetter(d, v)
			add := func(library, what string, ours, theirs outcome) {
				l.add(&comparison{v: v, library: library, json: raw, mutation: what, ours: ours, theirs: theirs})
			}
			id := safely(func() outcome { return textOf(pdu.ID(v, raw)) })
			add(gmsl, "event id", id, safely(func() outcome {
				e, err := theirVersion(v).NewEventFromTrustedJSON(raw, false)
				if err != nil {
					return refused(err)
				}
				return accepted(e.EventID())
			}))
			redacted := formOf(pdu.Redact(v, raw))
			add(gmsl, "redaction", redacted, safely(func() outcome {
				b, err := theirVersion(v).RedactEventJSON(raw)
				if err != nil {
					return refused(err)
				}
				return formOf(gomatrixserverlib.CanonicalJSON(b))
			}))
			// The hash is theirs; ours says whether it is right.
			add(gmsl, "content hash", accepted("right"), safely(func() outcome {
				e, err := theirVersion(v).NewEventFromUntrustedJSON(raw)
				if err != nil {
					return refused(err)
				}
				if e.Redacted() {
					return accepted("wrong")
				}
				return accepted("right")
			}))
			for what, theirs := range mautrixReads(v, raw) {
				switch what {
				case "event id":
					add(mautrix, what, id, theirs)
				case "redaction":
					add(mautrix, what, redacted, theirs)
				case "content hash":
					add(mautrix, what, accepted(gjson.GetBytes(raw, "hashes.sha256").Str), theirs)
				}
			}
		}
	})
	l.close()
}

func textOf(s string, err error) outcome {
	if err != nil {
		return refused(err)
	}
	return accepted(s)
}

// TestSignaturesAreMutual: what one of us signs, the other accepts; and what was
// changed afterwards, nobody does.
func TestSignaturesAreMutual(t *testing.T) {
	l := newLedger(t, signatures)
	pub := room.Key.Public().(ed25519.PublicKey)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		for range 400 {
			raw := signedLetter(d, v)
			add := func(library, what string, ours, theirs outcome) {
				l.add(&comparison{v: v, library: library, json: raw, mutation: what, ours: ours, theirs: theirs})
			}
			add(gmsl, "ours, verified by them", outcomeOf(pdu.Verify(v, raw, "x", room.KeyID, pub)), safely(func() outcome { return gmslVerifies(v, raw, pub) }))
			if theirs, ok := mautrixVerifies(v, raw); ok {
				add(mautrix, "ours, verified by them", outcomeOf(pdu.Verify(v, raw, "x", room.KeyID, pub)), theirs)
			}
			// Theirs, verified by us.
			unsigned := letter(d, v)
			signed := map[string]func() ([]byte, error){
				gmsl:    func() ([]byte, error) { return gmslSigns(v, unsigned) },
				mautrix: func() ([]byte, error) { return mautrixSigns(v, unsigned) },
			}
			for _, library := range []string{gmsl, mautrix} {
				var theirs []byte
				got := safely(func() outcome {
					var err error
					theirs, err = signed[library]()
					return outcomeOf(err)
				})
				if errors.Is(got.err, errNotForIt) {
					continue
				}
				ours := outcomeOf(pdu.Verify(v, theirs, "x", room.KeyID, pub))
				raw = unsigned
				add(library, "theirs, verified by us", ours, got)
			}
			// A changed signature, and a changed event.
			raw = []byte(gjson.GetBytes(signedLetter(d, v), "@this").Raw)
			forge(raw)
			add(gmsl, "forged", outcomeOf(pdu.Verify(v, raw, "x", room.KeyID, pub)), safely(func() outcome { return gmslVerifies(v, raw, pub) }))
			if theirs, ok := mautrixVerifies(v, raw); ok {
				add(mautrix, "forged", outcomeOf(pdu.Verify(v, raw, "x", room.KeyID, pub)), theirs)
			}
		}
	})
	l.close()
}

// forge changes a digit of origin_server_ts.
func forge(raw []byte) {
	at := gjson.GetBytes(raw, "origin_server_ts").Index
	raw[at] = '1' + (raw[at]-'0')%9
}

var errNotForIt = errors.New("the library has no such events")

func gmslVerifies(v *roomversion.Version, raw []byte, pub ed25519.PublicKey) outcome {
	redacted, err := theirVersion(v).RedactEventJSON(raw)
	if err != nil {
		return refused(err)
	}
	return outcomeOf(gomatrixserverlib.VerifyJSON("x", room.KeyID, pub, redacted))
}

// gmslSigns reads an event, as one that a make_join answer has, and signs it.
func gmslSigns(v *roomversion.Version, raw []byte) ([]byte, error) {
	e, err := theirVersion(v).NewEventFromTrustedJSON(raw, false)
	if err != nil {
		return nil, err
	}
	return e.Sign("x", room.KeyID, room.Key).JSON(), nil
}

// TestFormat breaks good events in one way each.
func TestFormat(t *testing.T) {
	l := newLedger(t, format)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		n := 60
		if v.HashRoomIDs {
			n = 400 // some mutations matter to create events alone
		}
		for range n {
			good := signedLetter(d, v)
			for _, m := range mutations {
				raw := m.apply(good)
				ours := safely(func() outcome {
					_, err := pdu.Parse(v, raw)
					return outcomeOf(err)
				})
				l.add(&comparison{v: v, library: gmsl, json: raw, mutation: m.name, ours: ours, theirs: safely(func() outcome {
					e, err := theirVersion(v).NewEventFromUntrustedJSON(raw)
					var invalid gomatrixserverlib.EventValidationError
					if err != nil && !(errors.As(err, &invalid) && invalid.Persistable) {
						return refused(err)
					}
					// These panic on events that should not have come so far.
					_, _, _ = e.EventID(), e.RoomID(), e.AuthEventIDs()
					return accepted("")
				})})
			}
		}
	})
	l.close()
}

// A mutation is one way in which an event can be bad.
type mutation struct {
	name  string
	key   string // the member to change
	value string // instead of what it is; "" removes it
}

func (m mutation) apply(good []byte) []byte {
	members, _, err := canonicaljson.Parse(good, canonicaljson.Lenient)
	if err != nil {
		panic(err)
	}
	found := false
	for i := range members {
		if members[i].Key == m.key {
			found = true
			members[i].Value = nil
			if m.value != "" {
				members[i].Value = []byte(m.value)
			}
		}
	}
	raw := canonicaljson.AppendObject(nil, members)
	if !found && m.value != "" {
		raw = fmt.Appendf(raw[:len(raw)-1], ",%q:%s}", m.key, m.value)
	}
	return raw
}
