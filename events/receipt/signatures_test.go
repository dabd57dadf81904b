package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
)

func TestKeysCountWhileTheyWereValid(t *testing.T) {
	everyVersion(t, func(w *world) {
		e := w.message() // of now
		name := receipt.KeyName{Server: "b.org", ID: "ed25519:1"}
		public := keyOf("b.org").Public().(ed25519.PublicKey)
		for i, test := range []struct {
			key         receipt.Key
			clock       int64
			old, strict bool // before version 5, and since
		}{
			{receipt.Key{Public: public, ValidUntil: now}, now, true, true},
			{receipt.Key{Public: public, ValidUntil: now - 1}, now, true, false},
			{receipt.Key{Public: public, ValidUntil: 1 << 62}, now, true, true},
			{receipt.Key{Public: public, ValidUntil: 1 << 62}, now - 7*day, true, true},
			{receipt.Key{Public: public, ValidUntil: 1 << 62}, now - 7*day - 1, true, false}, // 7 days at most
			{receipt.Key{Public: public, ValidUntil: now, Expired: true}, now, true, true},
			{receipt.Key{Public: public, ValidUntil: now + 30*day, Expired: true}, now + 365*day, true, true},
			{receipt.Key{Public: public, ValidUntil: now - 1, Expired: true}, now, false, false},
			{receipt.Key{Public: public, ValidUntil: 0}, now, true, false},
			{receipt.Key{Public: keyOf("x.org").Public().(ed25519.PublicKey), ValidUntil: now}, now, false, false},
			{receipt.Key{}, now, false, false},
		} {
			u, err := receipt.Parse(w.v, w.room, e.JSON())
			if err != nil {
				t.Fatal(err)
			}
			wants := u.Wants()
			at := int64(0)
			if w.v.KeyValidity {
				at = now
			}
			if len(wants) != 1 || wants[0].Server != "b.org" || len(wants[0].IDs) != 1 || wants[0].ValidAt != at {
				t.Fatalf("wants %+v", wants)
			}
			_, err = u.Verify(receipt.Keys{name: test.key}, test.clock)
			good := test.old
			if w.v.KeyValidity {
				good = test.strict
			}
			if (err == nil) != good || err != nil && !errors.Is(err, receipt.ErrSignature) {
				t.Errorf("version %s, %d: %v", w.v.ID, i, err)
			}
			if err != nil {
				w.want(receipt.VerdictOf(err), receipt.Dropped, 2)
			}
		}
	})
}

// All signatures by keys that count have to be right, one has to be there, and
// the others say nothing.
func TestSeveralSignaturesOfAServer(t *testing.T) {
	everyVersion(t, func(w *world) {
		good := w.message().JSON()
		garbage := func(raw []byte, server, id, sig string) []byte {
			out, err := pdu.AddSignature(w.v, raw, server, id, []byte(fmt.Sprintf(`{%q:{%q:%q}}`, server, id, sig)))
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		second, err := pdu.Sign(w.v, good, "b.org", "ed25519:2", keyOf("second"))
		if err != nil {
			t.Fatal(err)
		}
		known := receipt.Keys{
			{Server: "b.org", ID: "ed25519:1"}: {Public: keyOf("b.org").Public().(ed25519.PublicKey), ValidUntil: now},
			{Server: "b.org", ID: "ed25519:2"}: {Public: keyOf("second").Public().(ed25519.PublicKey), ValidUntil: now},
		}
		only2 := receipt.Keys{{Server: "b.org", ID: "ed25519:2"}: known[receipt.KeyName{Server: "b.org", ID: "ed25519:2"}]}
		for i, test := range []struct {
			raw  []byte
			keys receipt.Keys
			good bool
		}{
			{second, known, true},
			{second, only2, true},
			{good, only2, false},
			{garbage(good, "b.org", "ed25519:2", "AAAA"), known, false}, // known and wrong
			{garbage(second, "b.org", "ed25519:9", "AAAA"), known, true},
			{garbage(second, "b.org", "rsa:1", "AAAA"), known, true},
			{garbage(second, "x.org", "ed25519:1", "AAAA"), known, true},
			{garbage(good, "b.org", "ed25519:policy_server", "AAAA"), known, true},
			{garbage(good, "b.org", "ed25519:1", "AAAA"), known, false},
			{good, nil, false},
		} {
			u, err := receipt.Parse(w.v, w.room, test.raw)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := u.Verify(test.keys, now); (err == nil) != test.good {
				t.Errorf("version %s, %d: %+v, %v", w.v.ID, i, r, err)
			}
		}
		u, err := receipt.Parse(w.v, w.room, garbage(good, "b.org", "ed25519:policy_server", "AAAA"))
		if err != nil {
			t.Fatal(err)
		}
		if wants := u.Wants(); len(wants) != 1 || len(wants[0].IDs) != 1 || wants[0].IDs[0] != "ed25519:1" {
			t.Errorf("a policy server's key is looked for: %+v", wants)
		}
	})
}

func TestThirdPartyInviteIsForAnyServerToSend(t *testing.T) {
	everyVersion(t, func(w *world) {
		carol := "@carol:c.org"
		b := &pdu.Builder{Type: "m.room.member", StateKey: &carol, Sender: bob, Content: json.RawMessage(`{"membership":"invite","third_party_invite":{"signed":{"mxid":"@carol:c.org","token":"t","signatures":{}}}}`)}
		if w.v.GivenEventIDs() {
			b.EventID = "$invite:c.org"
		}
		e := w.build(b)
		raw := bytes.Replace(e.JSON(), []byte(`"signatures":{"b.org"`), []byte(`"signatures":{"c.org"`), 1)
		u, err := receipt.Parse(w.v, w.room, raw)
		if err != nil {
			t.Fatal(err)
		}
		wants := u.Wants()
		if w.v.GivenEventIDs() {
			if len(wants) != 1 || wants[0].Server != "c.org" {
				t.Errorf("version %s wants %+v", w.v.ID, wants)
			}
		} else if len(wants) != 0 {
			t.Errorf("version %s wants %+v", w.v.ID, wants)
		} else if _, err := u.Verify(nil, now); err != nil {
			t.Errorf("version %s: %v", w.v.ID, err)
		}
		// A plain invite is the sender's server's.
		if u, err = receipt.Parse(w.v, w.room, w.build(&pdu.Builder{Type: "m.room.member", StateKey: &carol, Sender: bob, Content: json.RawMessage(`{"membership":"invite"}`)}).JSON()); err != nil {
			t.Fatal(err)
		}
		if wants := u.Wants(); len(wants) != 1 || wants[0].Server != "b.org" {
			t.Errorf("version %s: a plain invite wants %+v", w.v.ID, wants)
		}
	})
}

const policyServer = "p.org"

// policed is a world with a policy server, and its policy.
func policed(w *world) receipt.Policy {
	w.t.Helper()
	w.join("@bot:" + policyServer)
	content := canonical(w.t, map[string]any{"via": policyServer, "public_keys": map[string]string{"ed25519": b64(keyOf("policy").Public().(ed25519.PublicKey))}})
	return receipt.PolicyOf(content, func(server string) bool { return server == policyServer })
}

func canonical(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := canonicaljson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPolicyServerHasTheLastWord(t *testing.T) {
	everyVersion(t, func(w *world) {
		policy := policed(w)
		if policy.Server() != policyServer {
			t.Fatalf("policy server %q", policy.Server())
		}
		evidence := w.evidence()
		evidence.Policy = policy
		e := w.message()
		r := w.received(e.JSON())
		w.want(r.Judge(evidence), receipt.SoftFailed, 7)
		w.want(r.JudgePast(evidence.Cited, evidence.Before), receipt.Accepted, 0)

		signed, err := pdu.Sign(w.v, e.JSON(), policyServer, "ed25519:policy_server", keyOf("policy"))
		if err != nil {
			t.Fatal(err)
		}
		answer := []byte(`{"p.org":` + string(canonicaljson.Get(signed, "signatures", policyServer)) + `,"x":1}`)
		again, err := r.WithPolicySignature(policy, answer)
		if err != nil {
			t.Fatal(err)
		}
		w.want(again.Judge(evidence), receipt.Accepted, 0)
		if again.Event().ID != e.ID || !bytes.Equal(again.Event().JSON(), signed) {
			t.Errorf("version %s: the signature changed the event: %s", w.v.ID, again.Event().JSON())
		}
		w.want(w.received(signed).Judge(evidence), receipt.Accepted, 0) // as others get it
		// It is not the word of the sender's server.
		if _, err := receipt.Parse(w.v, w.room, signed); err != nil {
			t.Error(err)
		}
		for _, bad := range []string{``, `{}`, `[]`, `{"p.org":{}}`, `{"p.org":{"ed25519:policy_server":1}}`, `{"p.org":{"ed25519:policy_server":"AAAA"}}`, `{"p.org":{"ed25519:1":"AAAA"}}`, `{"x.org":{}}`} {
			if _, err := r.WithPolicySignature(policy, []byte(bad)); !errors.Is(err, receipt.ErrNotRecommended) {
				t.Errorf("answer %s: %v", bad, err)
			}
		}
		// The event that names the policy server needs no signature; others like it do.
		for key, outcome := range map[string]receipt.Outcome{"": receipt.Accepted, "x": receipt.SoftFailed} {
			e := w.build(&pdu.Builder{Type: "m.room.policy", StateKey: &key, Sender: alice, Content: json.RawMessage(`{}`)})
			if got := w.received(e.JSON()).Judge(evidence).Outcome; got != outcome {
				t.Errorf("m.room.policy %q: %v", key, got)
			}
		}
	})
}

func TestWhenARoomUsesAPolicyServer(t *testing.T) {
	key := b64(keyOf("policy").Public().(ed25519.PublicKey))
	for content, want := range map[string]string{
		``:   "",
		`{}`: "",
		`{"via":"p.org","public_keys":{"ed25519":"` + key + `"}}`:         "p.org",
		`{"via":"p.org","public_keys":{"ed25519":"` + key + `","x":"y"}}`: "p.org",
		`{"via":"p.org","public_keys":{"ed25519":"nonsense"}}`:            "p.org", // and nothing is recommended
		`{"via":"gone.org","public_keys":{"ed25519":"` + key + `"}}`:      "",
		`{"via":"p.org","public_keys":{"ed25519":1}}`:                     "",
		`{"via":"p.org","public_keys":{}}`:                                "",
		`{"via":"p.org","public_keys":["ed25519"]}`:                       "",
		`{"via":"p.org","public_key":"` + key + `"}`:                      "",
		`{"via":1,"public_keys":{"ed25519":"` + key + `"}}`:               "",
		`{"via":"p org","public_keys":{"ed25519":"` + key + `"}}`:         "",
		`{"via":"","public_keys":{"ed25519":"` + key + `"}}`:              "",
		`{"public_keys":{"ed25519":"` + key + `"}}`:                       "",
	} {
		p := receipt.PolicyOf([]byte(content), func(server string) bool { return server != "gone.org" })
		if p.Server() != want {
			t.Errorf("%s: %q", content, p.Server())
		}
		w := newWorld(t, "12")
		if err := p.Check(w.message()); (err == nil) != (want == "") {
			t.Errorf("%s: %v", content, err)
		}
	}
}
