package pdu_test

import (
	"crypto/ed25519"
	"testing"

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

func BenchmarkVerify(b *testing.B) {
	e := typical(b)
	pub := public(specKey(b))
	for b.Loop() {
		if err := pdu.Verify(e.Version, e.JSON(), "example.org", "ed25519:1", pub); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareSign(b *testing.B) {
	e, key := typical(b), specKey(b)
	for b.Loop() {
		ed25519.Sign(key, e.JSON())
	}
}

func BenchmarkBareVerify(b *testing.B) {
	e, key := typical(b), specKey(b)
	sig, pub := ed25519.Sign(key, e.JSON()), public(key)
	for b.Loop() {
		ed25519.Verify(pub, e.JSON(), sig)
	}
}

func BenchmarkClientJSON(b *testing.B) {
	e := typical(b)
	for b.Loop() {
		e.ClientJSON(pdu.ClientFormat{OmitRoomID: true, Unsigned: []byte(`{"age":5}`)})
	}
}

func BenchmarkSign(b *testing.B) {
	e, key := typical(b), specKey(b)
	for b.Loop() {
		if _, err := pdu.Sign(e.Version, e.JSON(), "example.org", "ed25519:1", key); err != nil {
			b.Fatal(err)
		}
	}
}
