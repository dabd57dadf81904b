package receipt_test

import (
	"crypto/ed25519"
	"encoding/json"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
)

// FuzzReceive puts bytes through all checks, by keys and in a room that may or may
// not be theirs.
func FuzzReceive(f *testing.F) {
	for _, name := range []string{"1", "6", "12"} {
		w := newWorld(f, name)
		for _, b := range []*pdu.Builder{
			{Type: "m.room.message", Sender: bob},
			{Type: "m.room.member", Sender: bob, StateKey: new(string), Content: json.RawMessage(`{"membership":"leave"}`)},
			{Type: "m.room.power_levels", Sender: alice, StateKey: new(string), Content: json.RawMessage(`{"users":{"@bob:b.org":50}}`)},
		} {
			f.Add(w.build(b).JSON())
		}
	}
	worlds := map[string]*world{}
	for _, v := range roomversion.All() {
		worlds[v.ID] = newWorld(f, v.ID)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		room, err := receipt.RoomID(raw)
		for _, v := range roomversion.All() {
			w := worlds[v.ID]
			u, parseErr := receipt.Parse(v, w.room, raw)
			if parseErr != nil {
				continue
			}
			if err != nil || room != w.room {
				t.Fatalf("Parse takes an event of %s of which RoomID says %q, %v", w.room, room, err)
			}
			r, err := u.Verify(keysFor(u), now)
			if err != nil {
				// Signed by whoever should have, it goes on to the rules.
				signed := raw
				for _, want := range u.Wants() {
					if signed, err = pdu.HashAndSign(v, signed, want.Server, "ed25519:1", keyOf(want.Server)); err != nil {
						t.Fatal(err)
					}
				}
				if r, err = w.receive(signed); err != nil {
					continue
				}
			}
			for _, ref := range r.Cites() {
				if w.cited[ref] != nil && w.cited[ref].ID != ref {
					t.Fatal("cited under another id")
				}
			}
			verdict := r.Judge(receipt.Evidence{Cited: w.cited, Before: w.state, Current: w.state, Policy: receipt.PolicyOf(raw, func(string) bool { return true })})
			if (verdict.Err == nil) != (verdict.Outcome == receipt.Accepted) || (verdict.Check == 0) != (verdict.Err == nil) {
				t.Fatalf("%+v", verdict)
			}
			if verdict.Outcome != receipt.Rejected && len(r.Missing(w.cited)) > 0 {
				t.Fatalf("%v though auth events are missing", verdict.Outcome)
			}
			loaded, err := pdu.Load(v, r.Event().ID, r.Event().JSON())
			if err != nil {
				t.Fatal(err)
			}
			view, err := auth.ViewOf(loaded)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := auth.Check(v, view, w.state), auth.Check(v, r.View(), w.state); (a == nil) != (b == nil) {
				t.Fatalf("the event is judged %v when it is loaded, %v when it is received", a, b)
			}
		}
	})
}

// FuzzPolicyAnswer: what a policy server answers is untrusted too.
func FuzzPolicyAnswer(f *testing.F) {
	f.Add([]byte(`{"p.org":{"ed25519:policy_server":"AAAA"}}`), []byte(`{"via":"p.org","public_keys":{"ed25519":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`))
	w := newWorld(f, "12")
	e := w.message()
	f.Fuzz(func(t *testing.T, answer, content []byte) {
		if !json.Valid(content) {
			return
		}
		p := receipt.PolicyOf(content, func(string) bool { return true })
		signed, err := p.AddSignature(e, answer)
		if err != nil {
			return
		}
		if signed.ID != e.ID || pdu.Verify(w.v, signed.JSON(), "b.org", "ed25519:1", keyOf("b.org").Public().(ed25519.PublicKey)) != nil {
			t.Fatalf("the answer spoils the event: %s", signed.JSON())
		}
	})
}
