package pdu_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

func version(t testing.TB, name string) *roomversion.Version {
	t.Helper()
	v, ok := roomversion.Get(name)
	if !ok {
		t.Fatalf("no room version %s", name)
	}
	return v
}

// specKey is the key of https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors.
func specKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	seed, err := base64.RawStdEncoding.DecodeString("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func TestSpecSignsJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                       `{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}`,
		`{"one": 1, "two": "Two"}`: `{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}`,
	} {
		got, err := pdu.SignJSON([]byte(in), "domain", "ed25519:1", specKey(t))
		if err != nil || string(got) != want {
			t.Errorf("SignJSON(%s) = %s, %v", in, got, err)
		}
		if err := pdu.VerifyJSON(got, "domain", "ed25519:1", public(specKey(t))); err != nil {
			t.Error(err)
		}
	}
}

func TestSpecSignsEvents(t *testing.T) {
	for in, want := range map[string]string{
		`{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}`:                 `{"auth_events":[],"content":{},"depth":3,"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},"origin":"domain","origin_server_ts":1000000,"prev_events":[],"room_id":"!x:domain","sender":"@a:domain","signatures":{"domain":{"ed25519:1":"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},"type":"X","unsigned":{"age_ts":1000000}}`,
		`{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}`: `{"content":{"body":"Here is the message content"},"event_id":"$0:domain","hashes":{"sha256":"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},"origin":"domain","origin_server_ts":1000000,"room_id":"!r:domain","sender":"@u:domain","signatures":{"domain":{"ed25519:1":"Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"}},"type":"m.room.message","unsigned":{"age_ts":1000000}}`,
	} {
		v := version(t, "1")
		got, err := pdu.HashAndSign(v, []byte(in), "domain", "ed25519:1", specKey(t))
		if err != nil || string(got) != want {
			t.Errorf("HashAndSign = %s, %v; want %s", got, err, want)
		}
		if ok, err := pdu.CheckHash(v, got); !ok || err != nil {
			t.Error("the hash does not check:", err)
		}
		if err := pdu.Verify(v, got, "domain", "ed25519:1", public(specKey(t))); err != nil {
			t.Error(err)
		}
		redacted, err := pdu.Redact(v, got)
		if err != nil {
			t.Fatal(err)
		}
		if err := pdu.Verify(v, redacted, "domain", "ed25519:1", public(specKey(t))); err != nil {
			t.Error("a redacted copy must verify too:", err)
		}
		tampered := bytes.Replace(got, []byte("1000000,"), []byte("1000001,"), 1)
		if err := pdu.Verify(v, tampered, "domain", "ed25519:1", public(specKey(t))); !errors.Is(err, pdu.ErrBadSignature) {
			t.Error("tampered event:", err)
		}
		if err := pdu.Verify(v, got, "domain", "ed25519:2", public(specKey(t))); !errors.Is(err, pdu.ErrNoSignature) {
			t.Error("other key:", err)
		}
	}
}

func ptr(s string) *string { return &s }

func message(v *roomversion.Version) pdu.Builder {
	b := pdu.Builder{
		Type: "m.room.message", RoomID: "!room:example.org", Sender: "@alice:example.org",
		Content:    json.RawMessage(`{"msgtype":"m.text","body":"The quick brown fox jumps over the lazy dog","m.mentions":{}}`),
		PrevEvents: []string{"$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"},
		AuthEvents: []string{"$Sqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", "$Tqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"},
		Depth:      12, OriginServerTS: 1725000000000,
	}
	if v.HashRoomIDs {
		b.RoomID = "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
	}
	if v.GivenEventIDs() {
		b.PrevEvents = []string{"$prev:example.org"}
		b.AuthEvents = []string{"$create:example.org", "$member:example.org"}
	}
	return b
}

func TestBuiltEventsParseToThemselvesInEveryVersion(t *testing.T) {
	key := specKey(t)
	for _, v := range roomversion.All() {
		b := message(v)
		b.Unsigned = json.RawMessage(`{"age_ts":5}`)
		built, err := b.Build(v, "example.org", "ed25519:1", key)
		if err != nil {
			t.Fatalf("version %s: %v", v.ID, err)
		}
		parsed, err := pdu.Parse(v, built.JSON())
		if err != nil {
			t.Fatalf("version %s: %v", v.ID, err)
		}
		loaded, err := pdu.Load(v, built.ID, built.JSON())
		if err != nil {
			t.Fatalf("version %s: %v", v.ID, err)
		}
		if !reflect.DeepEqual(built, parsed) || !reflect.DeepEqual(built, loaded) {
			t.Errorf("version %s:\nbuilt  %+v\nparsed %+v\nloaded %+v", v.ID, built, parsed, loaded)
		}
		if ok, err := pdu.CheckHash(v, built.JSON()); !ok || err != nil {
			t.Errorf("version %s: hash %v %v", v.ID, ok, err)
		}
		if err := pdu.Verify(v, built.JSON(), "example.org", "ed25519:1", public(key)); err != nil {
			t.Errorf("version %s: %v", v.ID, err)
		}
		if got := pdu.SignedBy(built.JSON(), "example.org"); len(got) != 1 || got[0] != "ed25519:1" {
			t.Errorf("signed by %v", got)
		}
		redacted, err := pdu.Redact(v, built.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if id, err := pdu.ID(v, redacted); id != built.ID || err != nil {
			t.Errorf("version %s: redaction changed the id from %s to %s", v.ID, built.ID, id)
		}
		if ok, _ := pdu.CheckHash(v, redacted); ok {
			t.Errorf("version %s: a redacted event has its full hash", v.ID)
		}
		// Order and spaces do not matter, and received bytes are kept.
		var m map[string]any
		if err := json.Unmarshal(built.JSON(), &m); err != nil {
			t.Fatal(err)
		}
		spaced, _ := json.MarshalIndent(m, "", " ")
		again, err := pdu.Parse(v, spaced)
		if err != nil || again.ID != built.ID || !bytes.Equal(again.JSON(), spaced) || !bytes.Equal(again.Content, built.Content) {
			t.Errorf("version %s: indented: %v", v.ID, err)
		}
		if relo, err := pdu.Load(v, again.ID, spaced); err != nil || relo.Sender != built.Sender || len(relo.AuthEvents) != 2 {
			t.Errorf("version %s: load indented: %v %+v", v.ID, err, relo)
		}
	}
}

func TestEventIDFormats(t *testing.T) {
	v3, v4 := version(t, "3"), version(t, "4")
	b := message(v3)
	for range 50 { // until the hash has a character that differs
		b.Depth++
		e3, err := b.Build(v3, "example.org", "ed25519:1", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		e4, err := pdu.Parse(v4, e3.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.NewReplacer("+", "-", "/", "_").Replace(e3.ID); e4.ID != want || len(e4.ID) != 44 {
			t.Fatalf("%s in version 3 is %s in version 4", e3.ID, e4.ID)
		}
	}
	v1 := version(t, "1")
	b = message(v1)
	b.EventID = "$mine:example.org"
	b.Hashes = map[string]string{"$prev:example.org": "aGFzaA"}
	e, err := b.Build(v1, "example.org", "ed25519:1", specKey(t))
	if err != nil || e.ID != "$mine:example.org" || !bytes.Contains(e.JSON(), []byte(`"prev_events":[["$prev:example.org",{"sha256":"aGFzaA"}]]`)) {
		t.Errorf("%v %s", err, e.JSON())
	}
}

func TestCreateEventNamesTheRoomInVersion12(t *testing.T) {
	v := version(t, "12")
	b := pdu.Builder{Type: "m.room.create", Sender: "@alice:example.org", StateKey: ptr(""), Content: json.RawMessage(`{"room_version":"12"}`), Depth: 1}
	e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if e.RoomID != "!"+e.ID[1:] || bytes.Contains(e.JSON(), []byte("room_id")) || !e.Is("m.room.create", "") || !e.IsState() {
		t.Errorf("%+v %s", e, e.JSON())
	}
	if p, err := pdu.Parse(v, e.JSON()); err != nil || p.RoomID != e.RoomID {
		t.Error(err)
	}
	if l, err := pdu.Load(v, e.ID, e.JSON()); err != nil || l.RoomID != e.RoomID {
		t.Error(err)
	}
	b.RoomID = e.RoomID
	if _, err := b.Build(v, "example.org", "ed25519:1", specKey(t)); !errors.Is(err, pdu.ErrBadEvent) {
		t.Error("a create event with a room id was built:", err)
	}
}

func TestExplicitNullRedactsStaysInTheHash(t *testing.T) {
	v := version(t, "10")
	b := message(v)
	e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Replace(e.JSON(), []byte(`"room_id"`), []byte(`"redacts":null,"room_id"`), 1)
	raw, err = pdu.HashAndSign(v, raw, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := pdu.Parse(v, raw)
	if err != nil || got.Redacts != "" || got.ID == e.ID || !bytes.Contains(raw, []byte(`"redacts":null`)) {
		t.Errorf("%v %s", err, raw)
	}
	if ok, err := pdu.CheckHash(v, raw); !ok || err != nil {
		t.Error("hash:", ok, err)
	}
}

func TestMalformedEventsAreRefused(t *testing.T) {
	v := version(t, "11")
	b := message(v)
	e, err := b.Build(v, "example.org", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(key string, value any) []byte {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(e.JSON(), &m); err != nil {
			t.Fatal(err)
		}
		if delete(m, key); value != nil {
			m[key], _ = json.Marshal(value)
		}
		raw, _ := json.Marshal(m)
		return raw
	}
	ids := func(n int) []string { return strings.Split(strings.TrimSuffix(strings.Repeat("$a,", n), ","), ",") }
	long := strings.Repeat("é", 128)
	for i, test := range []struct {
		raw  []byte
		want error
	}{
		{edit("x", 1), nil},
		{edit("auth_events", nil), pdu.ErrBadEvent},
		{edit("content", nil), pdu.ErrBadEvent},
		{edit("content", []int{}), pdu.ErrBadEvent},
		{edit("depth", nil), pdu.ErrBadEvent},
		{edit("depth", "1"), pdu.ErrBadEvent},
		{edit("depth", -1), pdu.ErrBadEvent},
		{edit("depth", 1<<53), pdu.ErrBadJSON},
		{edit("depth", 1.5), pdu.ErrBadJSON},
		{edit("hashes", nil), pdu.ErrBadEvent},
		{edit("signatures", nil), pdu.ErrBadEvent},
		{edit("signatures", "x"), pdu.ErrBadEvent},
		{edit("origin_server_ts", nil), pdu.ErrBadEvent},
		{edit("prev_events", "x"), pdu.ErrBadEvent},
		{edit("prev_events", []any{1}), pdu.ErrBadEvent},
		{edit("prev_events", []any{[]any{"$a:b", map[string]any{}}}), pdu.ErrBadEvent},
		{edit("prev_events", []string{"nonsense"}), pdu.ErrBadEvent},
		{edit("prev_events", ids(20)), nil},
		{edit("prev_events", ids(21)), pdu.ErrBadEvent},
		{edit("auth_events", ids(10)), nil},
		{edit("auth_events", ids(11)), pdu.ErrBadEvent},
		{edit("room_id", nil), pdu.ErrBadEvent},
		{edit("room_id", "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"), pdu.ErrBadEvent},
		{edit("sender", "alice"), pdu.ErrBadEvent},
		{edit("sender", nil), pdu.ErrBadEvent},
		{edit("type", nil), pdu.ErrBadEvent},
		{edit("type", long), pdu.ErrTooLarge},
		{edit("type", long[2:]), nil},
		{edit("state_key", long), pdu.ErrTooLarge},
		{edit("state_key", 1), pdu.ErrBadEvent},
		{edit("state_key", json.RawMessage("null")), pdu.ErrBadEvent},
		{edit("unsigned", "x"), pdu.ErrBadEvent},
		{edit("content", map[string]any{"body": strings.Repeat("x", pdu.MaxSize)}), pdu.ErrTooLarge},
		{[]byte(`[]`), pdu.ErrBadJSON},
		{[]byte(``), pdu.ErrBadJSON},
		{bytes.Replace(e.JSON(), []byte(`"depth"`), []byte(`"depth":1,"depth"`), 1), pdu.ErrBadJSON},
		{bytes.Replace(e.JSON(), []byte(`"body"`), []byte(`"x":{"y":1,"y":1},"body"`), 1), pdu.ErrBadJSON},
	} {
		_, err := pdu.Parse(v, test.raw)
		if test.want == nil && err != nil || !errors.Is(err, test.want) {
			t.Errorf("%d: %v, want %v: %.200s", i, err, test.want, test.raw)
		}
	}
}

func TestBuilderErrorsForClients(t *testing.T) {
	v := version(t, "12")
	for content, want := range map[string]error{
		`{"a":1.5}`:       pdu.ErrBadJSON,
		`{"a":1,"a":2}`:   pdu.ErrBadJSON,
		`"text"`:          pdu.ErrBadJSON,
		`{"a":"\ud800"}`:  pdu.ErrBadJSON,
		`{"n":12345e200}`: pdu.ErrBadJSON,
		fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 65536)): pdu.ErrTooLarge,
	} {
		b := message(v)
		b.Content = json.RawMessage(content)
		if _, err := b.Build(v, "example.org", "ed25519:1", specKey(t)); !errors.Is(err, want) {
			t.Errorf("%.40s: %v", content, err)
		}
	}
	b := message(v)
	b.Type = strings.Repeat("x", 256)
	if _, err := b.Build(v, "example.org", "ed25519:1", specKey(t)); !errors.Is(err, pdu.ErrTooLarge) {
		t.Error(err)
	}
	b = message(v)
	b.Depth = 1 << 60
	if e, err := b.Build(v, "example.org", "ed25519:1", specKey(t)); err != nil || e.Depth != canonicaljson.MaxInt {
		t.Error("depth is not capped:", err)
	}
}

func TestTemplateIsCompletedByTheOtherServer(t *testing.T) {
	v := version(t, "12")
	b := message(v)
	b.Type, b.StateKey, b.Sender, b.Content = "m.room.member", ptr("@bob:b.org"), "@bob:b.org", json.RawMessage(`{"membership":"join"}`)
	template, err := b.Template(v)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := pdu.HashAndSign(v, template, "b.org", "ed25519:b", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err = pdu.Sign(v, raw, "a.org", "ed25519:a", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	e, err := pdu.Parse(v, raw)
	if err != nil || e.Sender != "@bob:b.org" {
		t.Fatal(err)
	}
	for server, key := range map[string]string{"a.org": "ed25519:a", "b.org": "ed25519:b"} {
		if err := pdu.Verify(v, raw, server, key, public(specKey(t))); err != nil {
			t.Error(err)
		}
	}
	if ok, err := pdu.CheckHash(v, raw); !ok || err != nil {
		t.Error("hash:", ok, err)
	}
}

func TestSignaturesMayBePaddedOrURLSafe(t *testing.T) {
	signed, err := pdu.SignJSON([]byte(`{"a":1}`), "x", "ed25519:1", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := canonicaljson.String(canonicaljson.Get(signed, "signatures", "x", "ed25519:1"))
	for _, form := range []string{sig + "==", strings.NewReplacer("+", "-", "/", "_").Replace(sig)} {
		raw := []byte(strings.Replace(string(signed), sig, form, 1))
		if err := pdu.VerifyJSON(raw, "x", "ed25519:1", public(specKey(t))); err != nil {
			t.Error(err)
		}
	}
	if err := pdu.VerifyJSON([]byte(`{"a":1,"signatures":{"x":{"ed25519:1":"!"}}}`), "x", "ed25519:1", public(specKey(t))); !errors.Is(err, pdu.ErrBadSignature) {
		t.Error(err)
	}
	if err := pdu.VerifyJSON(signed, "x", "ed25519:1", nil); !errors.Is(err, pdu.ErrBadSignature) {
		t.Error("an empty key verifies:", err)
	}
}
