package pdu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

func FuzzParse(f *testing.F) {
	for _, name := range []string{"1", "3", "11", "12"} {
		v := version(f, name)
		b := message(v)
		e, err := b.Build(v, "example.org", "ed25519:1", specKey(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.JSON())
		f.Add(bytes.Replace(e.JSON(), []byte(`"depth":12`), []byte(`"depth":1.2e1`), 1))
		f.Add(bytes.Replace(e.JSON(), []byte(`m.room.message`), []byte(`m.room.redaction`), 1))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range roomversion.All() {
			parse(t, v, raw)
		}
	})
}

func parse(t *testing.T, v *roomversion.Version, raw []byte) {
	e, err := pdu.Parse(v, raw)
	if err != nil {
		if e != nil || !errors.Is(err, pdu.ErrBadJSON) && !errors.Is(err, pdu.ErrBadEvent) && !errors.Is(err, pdu.ErrTooLarge) {
			t.Fatalf("%v, and an event %v", err, e)
		}
		return
	}
	// Load sees what Parse saw, whatever form the bytes have.
	l, err := pdu.Load(v, e.ID, raw)
	if err != nil {
		t.Fatalf("version %s: %v", v.ID, err)
	}
	content, err := canonicaljson.Encode(l.Content, v.JSONMode())
	if err != nil || !bytes.Equal(content, e.Content) {
		t.Fatalf("version %s: loaded content %s, %v", v.ID, l.Content, err)
	}
	l.Content, l.Unsigned = e.Content, e.Unsigned
	if !reflect.DeepEqual(l, e) {
		t.Fatalf("version %s: loaded %+v, parsed %+v", v.ID, l, e)
	}
	// Redaction is done once and for all, and changes neither id nor format.
	redacted, err := pdu.Redact(v, raw)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := pdu.Redact(v, redacted); err != nil || !bytes.Equal(again, redacted) {
		t.Fatalf("version %s: redacted twice: %s, %v", v.ID, again, err)
	}
	r, err := pdu.Parse(v, redacted)
	if err != nil || r.ID != e.ID || r.RoomID != e.RoomID || r.Sender != e.Sender {
		t.Fatalf("version %s: the redacted event is %+v, %v", v.ID, r, err)
	}
	// A signature holds for the event and for what redaction leaves of it.
	signed, err := pdu.Sign(v, raw, "x.org", "ed25519:f", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if id, err := pdu.ID(v, signed); err != nil || id != e.ID {
		t.Fatalf("version %s: signing changes the id: %v", v.ID, err)
	}
	if redacted, err = pdu.Redact(v, signed); err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{signed, redacted} {
		if err := pdu.Verify(v, raw, "x.org", "ed25519:f", public(specKey(t))); err != nil {
			t.Fatalf("version %s: %v", v.ID, err)
		}
	}
	if hashed, err := pdu.HashAndSign(v, raw, "x.org", "ed25519:f", specKey(t)); err != nil {
		t.Fatal(err)
	} else if ok, err := pdu.CheckHash(v, hashed); !ok || err != nil {
		t.Fatalf("version %s: a new hash is wrong: %v", v.ID, err)
	}
	if !json.Valid(e.ClientJSON(pdu.ClientFormat{})) || !json.Valid(l.ClientJSON(pdu.ClientFormat{OmitRoomID: true})) || !json.Valid(e.StrippedJSON()) {
		t.Fatal("client format is not JSON")
	}
}
