package trie

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

type path [32]byte

// slot returns the five bits of the path that choose a child at depth.
func (p *path) slot(depth int) int {
	at := depth * 5
	i := at / 8
	two := uint16(p[i]) << 8
	if i+1 < len(p) {
		two |= uint16(p[i+1])
	}
	return int(two>>(16-5-at%8)) & (fanout - 1)
}

func (p *path) setSlot(depth, slot int) {
	at := depth * 5
	i := at / 8
	two := uint16(slot) << (16 - 5 - at%8)
	p[i] |= byte(two >> 8)
	if i+1 < len(p) {
		p[i+1] |= byte(two)
	}
}

func pathOf(room string, k Key) path {
	b := make([]byte, 0, 256)
	b = binary.AppendUvarint(b, uint64(len(room)))
	b = append(b, room...)
	b = binary.AppendUvarint(b, uint64(len(k.Type)))
	b = append(b, k.Type...)
	b = append(b, k.StateKey...)
	return sha256.Sum256(b)
}

// item is an entry with its path. Slices of items are always in path order.
type item struct {
	Entry
	path path
}

func comparePaths(a, b item) int { return bytes.Compare(a.path[:], b.path[:]) }

// sortItems returns the entries in path order; of a key that comes more than
// once, the last.
func sortItems(room string, entries []Entry) []item {
	items := make([]item, len(entries))
	for i, e := range entries {
		items[i] = item{e, pathOf(room, e.Key)}
	}
	slices.SortStableFunc(items, comparePaths)
	kept := items[:0]
	for i, it := range items {
		if i+1 < len(items) && items[i+1].path == it.path {
			continue
		}
		kept = append(kept, it)
	}
	return kept
}

// splitSides parts items into non-member state and members, each in path order.
func splitSides(items []item) (others, members []item) {
	for _, it := range items {
		if it.Type == memberType {
			members = append(members, it)
		} else {
			others = append(others, it)
		}
	}
	return others, members
}

// bySlot calls do for each run of items that share a slot at depth.
func bySlot(items []item, depth int, do func(slot int, run []item)) {
	for len(items) > 0 {
		slot := items[0].path.slot(depth)
		n := 1
		for n < len(items) && items[n].path.slot(depth) == slot {
			n++
		}
		do(slot, items[:n:n])
		items = items[n:]
	}
}

func leafSize(items []item) int {
	n := 1
	for _, it := range items {
		n += entrySize(it.Entry)
	}
	return n
}

// isLeaf is the rule that makes the shape canonical. The last level is a
// leaf whatever it holds, which takes a collision of SHA-256 to matter.
func isLeaf(items []item, depth int) bool {
	return len(items) == 1 || depth == maxDepth || leafSize(items) <= maxLeaf
}

// tree is a subtree in memory; nil is the empty one. A tree with neither items
// nor kids is a stub: a reference whose chunk is not loaded. Trees reached from
// a loaded chunk are not changed except that stubs are filled in.
type tree struct {
	hash   Hash
	stored bool // hash is set, and the chunk is in the store
	leaf   bool
	items  []item
	kids   *[fanout]*tree
	shrunk bool // something below became smaller: it may have to become a leaf
}

func stub(h Hash, leaf bool) *tree { return &tree{hash: h, stored: true, leaf: leaf} }

func (t *tree) isStub() bool { return t != nil && t.items == nil && t.kids == nil }

func (t *tree) isNode() bool { return t != nil && !t.leaf }

// grow makes the subtree of items.
func grow(items []item, depth int) *tree {
	if len(items) == 0 {
		return nil
	}
	if isLeaf(items, depth) {
		return &tree{leaf: true, items: items}
	}
	t := &tree{kids: new([fanout]*tree)}
	bySlot(items, depth, func(slot int, run []item) { t.kids[slot] = grow(run, depth+1) })
	return t
}

// seal returns the tree's address and appends its new chunks to out, a chunk
// always after those that it refers to.
func (t *tree) seal(out *[]Chunk) Hash {
	if t.stored {
		return t.hash
	}
	var data []byte
	if t.leaf {
		data = encodeLeaf(t.items)
	} else {
		data = encodeKids([]byte{kindNode}, t.kids, out)
	}
	sum := sha256.Sum256(data)
	t.hash, t.stored = Hash(sum[:24]), true
	*out = append(*out, Chunk{t.hash, data})
	return t.hash
}

// place is a subtree and where it hangs. The root's two sides are at depth 0.
type place struct {
	*tree
	member bool
	depth  int
	prefix path // the slots above, as the first bits of a path
}

func (p place) child(slot int, kid *tree) place {
	prefix := p.prefix
	prefix.setSlot(p.depth, slot)
	return place{kid, p.member, p.depth + 1, prefix}
}

// source reads the chunks of one room.
type source struct {
	Loader
	room string
}

// chunks loads and verifies; each hash once.
func (s source) chunks(ctx context.Context, hashes []Hash) (map[Hash][]byte, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	found, err := s.Load(ctx, hashes)
	if err != nil {
		return nil, fmt.Errorf("load %d state chunks of %s: %w", len(hashes), s.room, err)
	}
	for _, h := range hashes {
		data, ok := found[h]
		if !ok {
			return nil, fmt.Errorf("chunk %s of %s: %w", h, s.room, ErrMissing)
		}
		if sum := sha256.Sum256(data); Hash(sum[:24]) != h {
			return nil, fmt.Errorf("chunk %s of %s: its %d bytes hash to %s: %w", h, s.room, len(data), Hash(sum[:24]), ErrCorrupt)
		}
	}
	return found, nil
}

// fill loads the stubs among places, all at once.
func (s source) fill(ctx context.Context, places []place) error {
	var hashes []Hash
	seen := map[Hash]bool{}
	for _, p := range places {
		if p.isStub() && !seen[p.hash] {
			seen[p.hash] = true
			hashes = append(hashes, p.hash)
		}
	}
	found, err := s.chunks(ctx, hashes)
	if err != nil {
		return err
	}
	for _, p := range places {
		if !p.isStub() {
			continue
		}
		if err := s.decode(p, found[p.hash]); err != nil {
			return fmt.Errorf("chunk %s of %s at depth %d: %w", p.hash, s.room, p.depth, err)
		}
	}
	return nil
}

// decode fills a stub and checks that the chunk belongs where it hangs, which
// also finds a caller who gives the wrong room.
func (s source) decode(p place, data []byte) (err error) {
	want := byte(kindNode)
	if p.leaf {
		want = kindLeaf
	}
	if kindOf(data) != want {
		return fmt.Errorf("kind is %d, the reference says %d: %w", kindOf(data), want, ErrCorrupt)
	}
	if !p.leaf {
		if p.depth >= maxDepth {
			return fmt.Errorf("node below the last level: %w", ErrCorrupt)
		}
		p.kids, err = decodeNode(data)
		return err
	}
	items, err := decodeLeaf(s.room, data)
	if err != nil {
		return err
	}
	for _, it := range items {
		belongs := (it.Type == memberType) == p.member
		for d := 0; d < p.depth && belongs; d++ {
			belongs = it.path.slot(d) == p.prefix.slot(d)
		}
		if !belongs {
			return fmt.Errorf("entry (%s, %s) does not belong there, or is of another room: %w", it.Type, it.StateKey, ErrCorrupt)
		}
	}
	p.items = items
	return nil
}

// state is the whole trie: the two sides of the root.
type state struct {
	others, members *tree
	whole           bool // the root is one leaf or empty
}

func (st *state) places() []place {
	return []place{{tree: st.others}, {tree: st.members, member: true}}
}

// open loads the top chunks of the states that roots name, all at once.
func (s source) open(ctx context.Context, roots ...Root) ([]*state, error) {
	var hashes []Hash
	for _, r := range roots {
		if !r.IsZero() && !slices.Contains(hashes, r.Hash()) {
			hashes = append(hashes, r.Hash())
		}
	}
	found, err := s.chunks(ctx, hashes)
	if err != nil {
		return nil, err
	}
	states := make([]*state, len(roots))
	for i, r := range roots {
		if states[i], err = s.decodeState(r, found[r.Hash()]); err != nil {
			return nil, fmt.Errorf("state %s of %s: %w", r, s.room, err)
		}
	}
	return states, nil
}

func (s source) decodeState(r Root, data []byte) (*state, error) {
	if r.IsZero() {
		return &state{whole: true}, nil
	}
	if sum := sha256.Sum256(data); Root(sum) != r {
		return nil, fmt.Errorf("its chunk hashes to %x: %w", sum, ErrCorrupt)
	}
	switch kindOf(data) {
	case kindLeaf:
		items, err := decodeLeaf(s.room, data)
		if err != nil {
			return nil, err
		}
		others, members := splitSides(items)
		return &state{grow(others, 0), grow(members, 0), true}, nil
	case kindRoot:
		others, members, err := decodeRoot(data)
		if err != nil {
			return nil, err
		}
		return &state{others: others, members: members}, nil
	}
	return nil, fmt.Errorf("its chunk has kind %d: %w", kindOf(data), ErrCorrupt)
}
