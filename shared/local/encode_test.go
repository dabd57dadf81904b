package local

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// FuzzDecode feeds decode with anything: it does not panic, and what it accepts
// comes back from encode and decode as it is.
func FuzzDecode(f *testing.F) {
	seed := func(it store.Item) {
		raw, err := encode(nil, it)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	seed(store.Item{})
	seed(store.Item{Attrs: store.Attrs{"s": "text", "b": []byte{0, 1}, "i": int64(-1 << 63), "t": true, "f": false}})
	seed(store.Item{Attrs: store.Attrs{"a": ""}, Expires: time.Unix(1700000000, 0)})
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	key := store.Key{Part: "p", Sort: "s"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		it, size, err := decode(key, raw)
		if err != nil {
			return
		}
		if size != store.Size(it) {
			t.Errorf("size %d, want %d", size, store.Size(it))
		}
		again, err := encode(nil, it)
		if err != nil {
			t.Fatal(err)
		}
		back, _, err := decode(key, again)
		if err != nil || !reflect.DeepEqual(it, back) {
			t.Errorf("%v came back as %v, %v", it, back, err)
		}
		seconds, ok := expiry(raw)
		if ok != !it.Expires.IsZero() && !it.Expires.Equal(time.Time{}) || ok && seconds != it.Expires.Unix() {
			t.Errorf("expiry %d, %v of %v", seconds, ok, it.Expires)
		}
	})
}

// FuzzKeys checks that keys come back and that their order is that of the sort
// keys within a partition, and that no partition lies within another.
func FuzzKeys(f *testing.F) {
	f.Add("p", "s", "p\x00", "s")
	f.Add("a\x00\x01", "b", "a", "\x01b")
	f.Add("a\x00\xff", "b", "a\x00", "\xffb")
	f.Fuzz(func(t *testing.T, p1, s1, p2, s2 string) {
		k1, k2 := itemKey(store.Rooms, store.Key{Part: p1, Sort: s1}), itemKey(store.Rooms, store.Key{Part: p2, Sort: s2})
		table, k, ok := splitItemKey(k1)
		if !ok || table != store.Rooms.Name || k.Part != p1 || k.Sort != s1 {
			t.Errorf("%q came back as %q %q %v", k1, table, k, ok)
		}
		prefix := partPrefix(store.Rooms, p1)
		within := bytes.Compare(k2, prefix) >= 0 && bytes.Compare(k2, partEnd(prefix)) < 0
		if within != (p1 == p2) {
			t.Errorf("%q is within the partition %q: %v", k2, p1, within)
		}
		if p1 == p2 && bytes.Compare(k1, k2) != bytes.Compare([]byte(s1), []byte(s2)) {
			t.Errorf("%q and %q are not in order", s1, s2)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	s := &stream{table: store.Rooms}
	f.Add(encodeChange(store.Key{Part: "p", Sort: "s"}, true))
	f.Add(encodeMessage(stored{at: 1, attempts: 2}))
	f.Add(encodeObject(object{file: "ab/cd"}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := s.decodeChange(raw); err == nil {
			back, err := s.decodeChange(encodeChange(c.Key, c.Expired))
			if err != nil || back != c {
				t.Errorf("%v came back as %v, %v", c, back, err)
			}
		}
		if m, err := decodeMessage(raw); err == nil {
			if back, err := decodeMessage(encodeMessage(m)); err != nil || back != m {
				t.Errorf("%v came back as %v, %v", m, back, err)
			}
		}
		if o, err := decodeObject("k", raw); err == nil {
			if back, err := decodeObject("k", encodeObject(o)); err != nil || !reflect.DeepEqual(back, o) {
				t.Errorf("%v came back as %v, %v", o, back, err)
			}
		}
	})
}
