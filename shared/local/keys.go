package local

import (
	"encoding/binary"

	"github.com/virga-im/virga/shared/store"
)

// The first byte of a key in Pebble says what it names. Tables, queues and
// followers go by their names, so that reordering a list changes nothing.
const (
	keyItem    = 'd' // table 0 part 0 1 sort           → item
	keyExpiry  = 'x' // seconds, key of the item        → nothing
	keyStream  = 's' // table 0 number                  → change record
	keyCursor  = 'c' // table 0 follower                → number
	keyMessage = 'm' // queue 0 number                  → message
	keyDead    = 'k' // queue 0 number                  → message
	keyDedup   = 'u' // queue 0 deduplication id        → milliseconds
	keyBlob    = 'b' // key                             → blob metadata
	keyOrphan  = 'o' // file name                       → nothing
)

// partPrefix is what the keys of a partition's items begin with. Zeros in the
// partition key are escaped, so that no partition is within another.
func partPrefix(t *store.Table, part string) []byte {
	b := make([]byte, 0, 1+len(t.Name)+1+len(part)+2+64)
	b = append(b, keyItem)
	b = append(b, t.Name...)
	b = append(b, 0)
	for i := range len(part) {
		if b = append(b, part[i]); part[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func itemKey(t *store.Table, k store.Key) []byte {
	return append(partPrefix(t, k.Part), k.Sort...)
}

// partEnd is after the keys that begin with prefix, and before all others.
func partEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// splitItemKey is the inverse of itemKey; the table is given by its name.
func splitItemKey(b []byte) (table string, k store.Key, ok bool) {
	if len(b) == 0 || b[0] != keyItem {
		return "", k, false
	}
	b = b[1:]
	i := 0
	for ; i < len(b) && b[i] != 0; i++ {
	}
	if i == len(b) {
		return "", k, false
	}
	table, b = string(b[:i]), b[i+1:]
	var part []byte
	for i = 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			part = append(part, b[i])
			continue
		}
		if i++; b[i] == 1 {
			return table, store.Key{Part: string(part), Sort: string(b[i+1:])}, true
		}
		part = append(part, 0)
	}
	return "", k, false
}

// named returns kind, name and a zero.
func named(kind byte, name string) []byte {
	b := make([]byte, 0, len(name)+2+16)
	b = append(b, kind)
	b = append(b, name...)
	return append(b, 0)
}

func numbered(kind byte, name string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(named(kind, name), n)
}

// number is the last part of a numbered key.
func number(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// expiryKey orders by time; seconds are biased so that all times sort.
func expiryKey(seconds int64, item []byte) []byte {
	b := make([]byte, 0, 9+len(item))
	b = append(b, keyExpiry)
	b = binary.BigEndian.AppendUint64(b, uint64(seconds)^1<<63)
	return append(b, item...)
}
