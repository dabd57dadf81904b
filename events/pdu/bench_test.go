package pdu_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
)

func typical(b *testing.B) *pdu.Event {
	v := version(b, "12")
	m := message(v)
	e, err := m.Build(v, "example.org", "ed25519:1", specKey(b))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(e.JSON())))
	b.ReportAllocs()
	return e
}

func BenchmarkParse(b *testing.B) {
	e := typical(b)
	for b.Loop() {
		if _, err := pdu.Parse(e.Version, e.JSON()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	e := typical(b)
	for b.Loop() {
		if _, err := pdu.Load(e.Version, e.ID, e.JSON()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIDAndHash(b *testing.B) {
	e := typical(b)
	for b.Loop() {
		if _, err := pdu.ID(e.Version, e.JSON()); err != nil {
			b.Fatal(err)
		}
		if ok, err := pdu.CheckHash(e.Version, e.JSON()); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	e := typical(b)
	m, key := message(e.Version), specKey(b)
	for b.Loop() {
		if _, err := m.Build(e.Version, "example.org", "ed25519:1", key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClientJSON(b *testing.B) {
	e := typical(b)
	for b.Loop() {
		e.ClientJSON(pdu.ClientFormat{OmitRoomID: true, Unsigned: []byte(`{"age":5}`)})
	}
}

// BenchmarkSign and BenchmarkVerify do both the event's and bare ed25519 in turns,
// and report the fastest of each and how many times the bare one the event's takes:
// the fastest, because what else the machine does only ever adds.
func BenchmarkSign(b *testing.B) {
	e, key := typical(b), specKey(b)
	message := signable(b, e)
	against(b, func() {
		if _, err := pdu.Sign(e.Version, e.JSON(), "example.org", "ed25519:1", key); err != nil {
			b.Fatal(err)
		}
	}, func() { ed25519.Sign(key, message) })
}

func BenchmarkVerify(b *testing.B) {
	e, key := typical(b), specKey(b)
	message, pub := signable(b, e), public(key)
	sig := ed25519.Sign(key, message)
	against(b, func() {
		if err := pdu.Verify(e.Version, e.JSON(), "example.org", "ed25519:1", pub); err != nil {
			b.Fatal(err)
		}
	}, func() { ed25519.Verify(pub, message, sig) })
}

// signable is what a signature of an event covers.
func signable(b *testing.B, e *pdu.Event) []byte {
	redacted, err := pdu.Redact(e.Version, e.JSON())
	if err != nil {
		b.Fatal(err)
	}
	var kept []canonicaljson.Member
	for key, value := range canonicaljson.Fields(redacted) {
		if key != "signatures" {
			kept = append(kept, canonicaljson.Member{Key: key, Value: value})
		}
	}
	return canonicaljson.AppendObject(nil, kept)
}

func against(b *testing.B, event, bare func()) {
	ofEvent, ofBare := time.Hour, time.Hour
	for b.Loop() {
		start := time.Now()
		event()
		middle := time.Now()
		bare()
		ofEvent, ofBare = min(ofEvent, middle.Sub(start)), min(ofBare, time.Since(middle))
	}
	b.ReportMetric(float64(ofEvent.Nanoseconds()), "event-ns")
	b.ReportMetric(float64(ofBare.Nanoseconds()), "bare-ns")
	b.ReportMetric(float64(ofEvent)/float64(ofBare), "event/bare")
}
