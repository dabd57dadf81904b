package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// An item's value is a version, flags, the time to live in seconds if there is
// one, and the attributes: name, type, value. Lengths and integers are varints.
// The order of the attributes means nothing.
const (
	version1    = 1
	flagExpires = 1

	typeString = 0
	typeBytes  = 1
	typeInt    = 2
	typeFalse  = 3
	typeTrue   = 4
)

var errCorrupt = errors.New("the stored item is corrupt")

// encode appends the value of an item to b.
func encode(b []byte, it store.Item) ([]byte, error) {
	if it.Expires.IsZero() {
		b = append(b, version1, 0)
	} else {
		b = append(b, version1, flagExpires)
		b = binary.AppendVarint(b, it.Expires.Unix())
	}
	for name, v := range it.Attrs {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		switch v := v.(type) {
		case string:
			b = append(b, typeString)
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		case []byte:
			b = append(b, typeBytes)
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		case int64:
			b = append(b, typeInt)
			b = binary.AppendVarint(b, v)
		case bool:
			if v {
				b = append(b, typeTrue)
			} else {
				b = append(b, typeFalse)
			}
		default:
			return nil, fmt.Errorf("attribute %q holds a %T", name, v)
		}
	}
	return b, nil
}

// decode returns the item and its size as store.Size counts it. The item shares
// no memory with raw.
func decode(k store.Key, raw []byte) (store.Item, int, error) {
	// All bytes are slices of one copy: the body of an event is nearly all of it.
	d := reader{rest: bytes.Clone(raw)}
	it := store.Item{Key: k}
	seconds, expires := d.head()
	if expires {
		it.Expires = time.Unix(seconds, 0).UTC()
	}
	it.Attrs = make(store.Attrs, 8)
	for !d.bad && len(d.rest) > 0 {
		name := string(d.take())
		if d.bad || len(d.rest) == 0 {
			return store.Item{}, 0, errCorrupt
		}
		kind := d.rest[0]
		d.rest = d.rest[1:]
		switch kind {
		case typeString:
			it.Attrs[name] = string(d.take())
		case typeBytes:
			it.Attrs[name] = d.take()
		case typeInt:
			it.Attrs[name] = d.varint()
		case typeFalse:
			it.Attrs[name] = false
		case typeTrue:
			it.Attrs[name] = true
		default:
			d.bad = true
		}
	}
	if d.bad {
		return store.Item{}, 0, errCorrupt
	}
	return it, store.Size(it), nil
}

// expiry returns the time to live of an encoded item, if it has one.
func expiry(raw []byte) (seconds int64, ok bool) {
	if len(raw) < 2 || raw[0] != version1 || raw[1]&flagExpires == 0 {
		return 0, false
	}
	seconds, n := binary.Varint(raw[2:])
	return seconds, n > 0
}

// reader consumes bytes; bad is sticky.
type reader struct {
	rest []byte
	bad  bool
}

func (d *reader) head() (seconds int64, expires bool) {
	if len(d.rest) < 2 || d.rest[0] != version1 || d.rest[1]&^flagExpires != 0 {
		d.bad = true
		return 0, false
	}
	expires = d.rest[1] == flagExpires
	d.rest = d.rest[2:]
	if expires {
		seconds = d.varint()
	}
	return seconds, expires
}

func (d *reader) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		if i == 9 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return v
		}
	}
	d.bad = true
	return 0
}

func (d *reader) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// take consumes a length and that many bytes.
func (d *reader) take() []byte {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	s := d.rest[:n:n]
	d.rest = d.rest[n:]
	return s
}
