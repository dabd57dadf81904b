package pdu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

// Event ids are hashes of redacted events, so servers must redact alike to the
// last byte.
func TestThirdPartyInviteWithoutSignedStaysAnObject(t *testing.T) {
	for _, v := range roomversion.All() {
		for in, want := range map[string]string{
			`{"membership":"invite","third_party_invite":{"display_name":"y"}}`: `{"membership":"invite","third_party_invite":{}}`,
			`{"membership":"invite","third_party_invite":{}}`:                   `{"membership":"invite","third_party_invite":{}}`,
			`{"membership":"invite","third_party_invite":{"signed":null}}`:      `{"membership":"invite","third_party_invite":{"signed":null}}`,
			`{"membership":"invite","third_party_invite":[1]}`:                  `{"membership":"invite"}`,
			`{"membership":"invite","third_party_invite":null}`:                 `{"membership":"invite"}`,
		} {
			if !v.KeepMore {
				want = `{"membership":"invite"}`
			}
			checkRedaction(t, v, "m.room.member", in, want)
		}
	}
}

func TestAHashIsPartOfTheFormat(t *testing.T) {
	for _, v := range roomversion.All() {
		b := message(v)
		e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, hashes := range []string{`{}`, `{"sha512":"x"}`, `{"sha256":1}`, `{"sha256":null}`, `[]`} {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(e.JSON(), &m); err != nil {
				t.Fatal(err)
			}
			m["hashes"] = json.RawMessage(hashes)
			raw, _ := json.Marshal(m)
			if _, err := pdu.Parse(v, raw); !errors.Is(err, pdu.ErrBadEvent) {
				t.Errorf("version %s: hashes %s: %v", v.ID, hashes, err)
			}
		}
	}
}

func TestHashThatIsNoneIsWrong(t *testing.T) {
	for _, v := range roomversion.All() {
		for _, hashes := range []string{`{}`, `{"sha256":1}`, `{"sha256":""}`, `{"sha256":"!"}`, `{"sha256":"AAAA"}`, `{"sha512":"AAAA"}`, `[]`, `null`} {
			if ok, err := pdu.CheckHash(v, []byte(`{"content":{},"hashes":`+hashes+`,"type":"m.x"}`)); ok || err != nil {
				t.Errorf("version %s: hashes %s: %v, %v", v.ID, hashes, ok, err)
			}
		}
	}
}

// What Parse took, Load takes too, and sees the same.
func TestNumbersMeanTheSameWhenTheEventIsLoaded(t *testing.T) {
	v := version(t, "5")
	b := message(v)
	e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"1e3", "10E2", "1.5e1", "-0", "0e0"} {
		raw := bytes.Replace(e.JSON(), []byte(`"depth":12`), []byte(`"depth":`+number), 1)
		p, err := pdu.Parse(v, raw)
		if err != nil {
			t.Errorf("%s: %v", number, err)
			continue
		}
		l, err := pdu.Load(v, p.ID, raw)
		if err != nil || l.Depth != p.Depth {
			t.Errorf("depth %s: parsed %d, loaded %+v, %v", number, p.Depth, l, err)
		}
	}
	for _, number := range []string{"1.0", "1.5", "1e-1", "1e300", "9223372036854775808", "-1", "-1e3", "true", "null", "{}"} {
		raw := bytes.Replace(e.JSON(), []byte(`"depth":12`), []byte(`"depth":`+number), 1)
		if _, err := pdu.Parse(v, raw); !errors.Is(err, pdu.ErrBadEvent) {
			t.Errorf("depth %s: %v", number, err)
		}
	}
}

func TestFieldsOf255BytesAreWithinTheLimit(t *testing.T) {
	for _, v := range roomversion.All() {
		b := message(v)
		b.Type, b.StateKey, b.Sender = strings.Repeat("t", 255), ptr(strings.Repeat("k", 255)), "@"+strings.Repeat("s", 242)+":example.org"
		e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
		if err != nil {
			t.Errorf("version %s: %v", v.ID, err)
			continue
		}
		if p, err := pdu.Parse(v, e.JSON()); err != nil || p.Overlong() != "" {
			t.Errorf("version %s: %v", v.ID, err)
		}
	}
}

func TestReferencesHaveTheFormOfTheVersion(t *testing.T) {
	for _, v := range roomversion.All() {
		b := message(v)
		e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"auth_events", "prev_events"} {
			for form, pairs := range map[string]bool{
				`["$a:b.org"]`: false, `[["$a:b.org",{"sha256":"x"}]]`: true, `[["$a:b.org",{}],["$c:d.org",{}]]`: true,
			} {
				if err := with(t, v, e, field, form); (err == nil) != (pairs == v.GivenEventIDs()) {
					t.Errorf("version %s: %s %s: %v", v.ID, field, form, err)
				}
			}
			if err := with(t, v, e, field, `[]`); err != nil {
				t.Errorf("version %s: no %s: %v", v.ID, field, err)
			}
			for _, form := range []string{`null`, `{}`, `"$a:b.org"`, `[1]`, `[null]`, `[[]]`, `[["$a:b.org"]]`, `[["$a:b.org",{},{}]]`, `[[1,{}]]`, `[{"$a:b.org":{}}]`, `["a"]`, `[["a",{}]]`, `[""]`} {
				if err := with(t, v, e, field, form); !errors.Is(err, pdu.ErrBadEvent) {
					t.Errorf("version %s: %s %s: %v", v.ID, field, form, err)
				}
			}
		}
	}
}

// with parses an event with another value of a field.
func with(t *testing.T, v *roomversion.Version, e *pdu.Event, field, value string) error {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(e.JSON(), &m); err != nil {
		t.Fatal(err)
	}
	m[field] = json.RawMessage(value)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pdu.Parse(v, raw)
	return err
}

// Up to room version 10, servers used to count characters: such events are in
// rooms, and those that follow them must be able to find them.
func TestFieldsThatAreTooLongInBytesOnlyAreOverlong(t *testing.T) {
	for _, v := range roomversion.All() {
		for _, field := range []string{"type", "state_key"} {
			for _, n := range []int{127, 128, 255, 256} {
				b := message(v)
				b.StateKey = ptr("")
				e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
				if err != nil {
					t.Fatal(err)
				}
				var m map[string]any
				if err := json.Unmarshal(e.JSON(), &m); err != nil {
					t.Fatal(err)
				}
				m[field] = strings.Repeat("é", n)
				raw, _ := json.Marshal(m)
				p, err := pdu.Parse(v, raw)
				switch {
				case n == 127:
					if err != nil || p.Overlong() != "" {
						t.Errorf("version %s: %s of 254 bytes: %v", v.ID, field, err)
					}
				case n <= 255 && v.LongFields:
					if err != nil || p.Overlong() != field {
						t.Errorf("version %s: %s of %d characters: %v", v.ID, field, n, err)
					}
				default:
					if !errors.Is(err, pdu.ErrTooLarge) {
						t.Errorf("version %s: %s of %d characters: %v", v.ID, field, n, err)
					}
				}
				if b.Type, b.StateKey = m["type"].(string), ptr(m["state_key"].(string)); n > 127 {
					if _, err := b.Build(v, "example.org", "ed25519:1", specKey(t)); !errors.Is(err, pdu.ErrTooLarge) {
						t.Errorf("version %s: we built a %s of %d characters: %v", v.ID, field, n, err)
					}
				}
			}
		}
	}
}
