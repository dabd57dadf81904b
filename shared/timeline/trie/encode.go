package trie

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	maxLeaf  = 900 // bytes of an encoded leaf of more than one entry
	fanout   = 32  // slots of a node: five bits of the path
	maxDepth = 51  // levels in 256 bits

	kindLeaf = 1
	kindNode = 2
	kindRoot = 3
)

func kindOf(data []byte) byte {
	if len(data) == 0 {
		return 0
	}
	return data[0]
}

// A root's second byte says what follows: the reference of the non-member
// subtree, and the member subtree as a reference or as a whole node.
const (
	rootOthers     = 1 << iota // there is non-member state
	rootOthersLeaf             // and it is a leaf
	rootMemberLeaf             // the members are one leaf
	rootMemberNode             // the members' top node stands in the root
)

const memberType = "m.room.member"

// An entry begins with one byte: the code of its type, and above it whether the
// event id is written out. Code 0 means that the type is written out.
const idWritten = 0x80

// types lists the event types that have a code: the index is the code. The list
// is part of the encoding and is never changed; see the package comment.
var types = [...]string{
	1:  memberType,
	2:  "m.room.create",
	3:  "m.room.power_levels",
	4:  "m.room.join_rules",
	5:  "m.room.history_visibility",
	6:  "m.room.guest_access",
	7:  "m.room.name",
	8:  "m.room.topic",
	9:  "m.room.avatar",
	10: "m.room.canonical_alias",
	11: "m.room.encryption",
	12: "m.room.third_party_invite",
	13: "m.room.server_acl",
	14: "m.room.tombstone",
	15: "m.room.pinned_events",
	16: "m.room.aliases",
	17: "m.room.policy",
	18: "m.room.image_pack",
	19: "m.room.retention",
	20: "m.room.related_groups",
	21: "m.space.child",
	22: "m.space.parent",
	23: "m.policy.rule.user",
	24: "m.policy.rule.room",
	25: "m.policy.rule.server",
	26: "m.call.member",
	27: "org.matrix.msc3401.call.member",
	28: "m.rtc.slot",
	29: "m.beacon_info",
	30: "org.matrix.msc3672.beacon_info",
	31: "im.vector.modular.widgets",
	32: "m.widget",
	33: "m.bridge",
	34: "uk.half-shot.bridge",
	35: "im.ponies.room_emotes",
	36: "io.element.functional_members",
	37: "org.matrix.room.preview_urls",
}

var typeCodes = func() map[string]byte {
	m := make(map[string]byte, len(types))
	for i, t := range types {
		if t != "" {
			m[t] = byte(i)
		}
	}
	return m
}()

// rawEventID returns the hash inside an event id of the form of room version 4
// and later. Ids of that look whose last character carries stray bits are not
// hashes: they would not come back the same.
func rawEventID(id string) (raw [32]byte, ok bool) {
	if len(id) != 44 || id[0] != '$' {
		return raw, false
	}
	n, err := base64.RawURLEncoding.Decode(raw[:], []byte(id[1:]))
	return raw, err == nil && n == len(raw) && eventIDOf(raw[:]) == id
}

func eventIDOf(raw []byte) string {
	var b [44]byte
	b[0] = '$'
	base64.RawURLEncoding.Encode(b[1:], raw)
	return string(b[:])
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendEntry(b []byte, e Entry) []byte {
	code := typeCodes[e.Type]
	raw, isHash := rawEventID(e.EventID)
	if isHash {
		b = append(b, code)
	} else {
		b = append(b, code|idWritten)
	}
	if code == 0 {
		b = appendString(b, e.Type)
	}
	b = appendString(b, e.StateKey)
	if isHash {
		return append(b, raw[:]...)
	}
	return appendString(b, e.EventID)
}

func uvarintSize(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

// entrySize is the length of what appendEntry appends.
func entrySize(e Entry) int {
	n := 1 + uvarintSize(len(e.StateKey)) + len(e.StateKey)
	if typeCodes[e.Type] == 0 {
		n += uvarintSize(len(e.Type)) + len(e.Type)
	}
	if _, isHash := rawEventID(e.EventID); isHash {
		return n + 32
	}
	return n + uvarintSize(len(e.EventID)) + len(e.EventID)
}

func encodeLeaf(items []item) []byte {
	b := make([]byte, 1, leafSize(items))
	b[0] = kindLeaf
	for _, it := range items {
		b = appendEntry(b, it.Entry)
	}
	return b
}

// decoder cuts data into fields. After the first field that is not there, bad
// is set and all further fields are empty.
type decoder struct {
	data []byte
	bad  bool
}

func (d *decoder) bytes(n int) []byte {
	if d.bad || n > len(d.data) {
		d.bad, d.data = true, nil
		return nil
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) string() string {
	n, size := binary.Uvarint(d.data)
	if size <= 0 || n > uint64(len(d.data)-size) {
		d.bad, d.data = true, nil
		return ""
	}
	d.bytes(size)
	return string(d.bytes(int(n)))
}

func (d *decoder) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) hash() (h Hash) {
	copy(h[:], d.bytes(len(h)))
	return h
}

func (d *decoder) end(what string) error {
	if d.bad {
		return fmt.Errorf("%s is cut short: %w", what, ErrCorrupt)
	}
	if len(d.data) > 0 {
		return fmt.Errorf("%s has %d bytes too many: %w", what, len(d.data), ErrCorrupt)
	}
	return nil
}

// decodeLeaf reads a leaf and computes its entries' paths in room.
func decodeLeaf(room string, data []byte) ([]item, error) {
	d := decoder{data: data[1:]}
	var items []item
	for len(d.data) > 0 {
		code := d.byte()
		var e Entry
		switch c := code &^ idWritten; {
		case c == 0:
			e.Type = d.string()
		case int(c) < len(types):
			e.Type = types[c]
		default:
			return nil, fmt.Errorf("leaf has unknown type code %d: %w", c, ErrCorrupt)
		}
		e.StateKey = d.string()
		if code&idWritten != 0 {
			e.EventID = d.string()
		} else if raw := d.bytes(32); raw != nil {
			e.EventID = eventIDOf(raw)
		}
		if d.bad {
			break
		}
		items = append(items, item{e, pathOf(room, e.Key)})
	}
	if err := d.end("leaf"); err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("leaf is empty: %w", ErrCorrupt)
	}
	for i := 1; i < len(items); i++ {
		if comparePaths(items[i-1], items[i]) >= 0 {
			return nil, fmt.Errorf("leaf is out of order, or of another room than %s: %w", room, ErrCorrupt)
		}
	}
	return items, nil
}

// encodeKids writes the slots of a node, sealing what is new below it.
func encodeKids(b []byte, kids *[fanout]*tree, out *[]Chunk) []byte {
	var used, leaves uint32
	var refs []byte
	for slot, kid := range kids {
		if kid == nil {
			continue
		}
		used |= 1 << slot
		if kid.leaf {
			leaves |= 1 << slot
		}
		h := kid.seal(out)
		refs = append(refs, h[:]...)
	}
	b = binary.BigEndian.AppendUint32(b, used)
	b = binary.BigEndian.AppendUint32(b, leaves)
	return append(b, refs...)
}

func decodeKids(d *decoder) (*[fanout]*tree, error) {
	used, leaves := d.uint32(), d.uint32()
	if !d.bad && (used == 0 || leaves&^used != 0) {
		return nil, fmt.Errorf("node has bitmaps %032b and %032b: %w", used, leaves, ErrCorrupt)
	}
	var kids [fanout]*tree
	for slot := range kids {
		if used&(1<<slot) != 0 {
			kids[slot] = stub(d.hash(), leaves&(1<<slot) != 0)
		}
	}
	return &kids, nil
}

func decodeNode(data []byte) (*[fanout]*tree, error) {
	d := decoder{data: data[1:]}
	kids, err := decodeKids(&d)
	if err != nil {
		return nil, err
	}
	return kids, d.end("node")
}

func encodeRoot(others, members *tree, out *[]Chunk) []byte {
	b := []byte{kindRoot, 0}
	if others != nil {
		b[1] |= rootOthers
		if others.leaf {
			b[1] |= rootOthersLeaf
		}
		h := others.seal(out)
		b = append(b, h[:]...)
	}
	switch {
	case members == nil:
	case members.leaf:
		b[1] |= rootMemberLeaf
		h := members.seal(out)
		b = append(b, h[:]...)
	default:
		b[1] |= rootMemberNode
		b = encodeKids(b, members.kids, out)
	}
	return b
}

func decodeRoot(data []byte) (others, members *tree, err error) {
	d := decoder{data: data[1:]}
	flags := d.byte()
	if flags&rootOthers != 0 {
		others = stub(d.hash(), flags&rootOthersLeaf != 0)
	}
	switch flags &^ (rootOthers | rootOthersLeaf) {
	case 0:
	case rootMemberLeaf:
		members = stub(d.hash(), true)
	case rootMemberNode:
		members = &tree{}
		if members.kids, err = decodeKids(&d); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, fmt.Errorf("root has flags %#x: %w", flags, ErrCorrupt)
	}
	if err := d.end("root"); err != nil {
		return nil, nil, err
	}
	if others == nil && members == nil {
		return nil, nil, fmt.Errorf("root is empty: %w", ErrCorrupt)
	}
	return others, members, nil
}
