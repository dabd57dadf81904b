package trie

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// window is how many chunks Walk and Reachable load at once: what bounds their
// memory, and the most items of one batch read.
const window = 100

// errand is a subtree and the items whose paths lead through it.
type errand struct {
	place
	items []item
}

// descend loads the paths of the errands, one Load a level, and gives each leaf
// that they end in, with the items that lead to it, to atLeaf.
func (s source) descend(ctx context.Context, errands []errand, atLeaf func(*tree, []item)) error {
	for len(errands) > 0 {
		var stubs []errand
		var places []place
		for len(errands) > 0 {
			e := errands[0]
			errands = errands[1:]
			switch {
			case e.tree == nil || len(e.items) == 0:
			case e.isStub():
				stubs = append(stubs, e)
				places = append(places, e.place)
			case e.leaf:
				if atLeaf != nil {
					atLeaf(e.tree, e.items)
				}
			default:
				bySlot(e.items, e.depth, func(slot int, run []item) {
					errands = append(errands, errand{e.child(slot, e.kids[slot]), run})
				})
			}
		}
		if err := s.fill(ctx, places); err != nil {
			return err
		}
		errands = stubs
	}
	return nil
}

// Lookup returns the event ids of those of the keys that are set. All keys
// descend together, one Load a level.
func Lookup(ctx context.Context, l Loader, room string, root Root, keys []Key) (map[Key]string, error) {
	found := make(map[Key]string, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	src := source{l, room}
	states, err := src.open(ctx, root)
	if err != nil {
		return nil, err
	}
	wanted := make([]Entry, len(keys))
	for i, k := range keys {
		wanted[i].Key = k
	}
	others, members := splitSides(sortItems(room, wanted))
	places := states[0].places()
	err = src.descend(ctx, []errand{{places[0], others}, {places[1], members}}, func(leaf *tree, items []item) {
		for _, it := range items {
			if i, ok := slices.BinarySearchFunc(leaf.items, it, comparePaths); ok {
				found[it.Key] = leaf.items[i].EventID
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// pair is the same place in two states.
type pair struct{ a, b place }

func same(a, b *tree) bool {
	return a == b || a != nil && b != nil && a.stored && b.stored && a.hash == b.hash
}

// kidAt returns the subtree of t in a slot at depth. A leaf is cut up as though
// it were a node.
func (p place) kidAt(slot int) place {
	var kid *tree
	switch {
	case p.tree == nil:
	case p.leaf:
		bySlot(p.items, p.depth, func(at int, run []item) {
			if at == slot {
				kid = &tree{leaf: true, items: run}
			}
		})
	default:
		kid = p.kids[slot]
	}
	return p.child(slot, kid)
}

// Diff returns the keys whose events differ between the states a and b, in the
// order of type and state key. It reads only chunks that one state has and
// the other has not, one Load a level.
func Diff(ctx context.Context, l Loader, room string, a, b Root) ([]Change, error) {
	if a == b {
		return nil, nil
	}
	src := source{l, room}
	states, err := src.open(ctx, a, b)
	if err != nil {
		return nil, err
	}
	as, bs := states[0].places(), states[1].places()
	pairs := []pair{{as[0], bs[0]}, {as[1], bs[1]}}
	var changes []Change
	for len(pairs) > 0 {
		var stubs []pair
		var places []place
		for len(pairs) > 0 {
			p := pairs[0]
			pairs = pairs[1:]
			switch {
			case same(p.a.tree, p.b.tree):
			case p.a.isStub() || p.b.isStub():
				stubs = append(stubs, p)
				places = append(places, p.a, p.b)
			case p.a.isNode() || p.b.isNode():
				for slot := range fanout {
					pairs = append(pairs, pair{p.a.kidAt(slot), p.b.kidAt(slot)})
				}
			default:
				changes = compareItems(changes, p.a.tree, p.b.tree)
			}
		}
		if err := src.fill(ctx, places); err != nil {
			return nil, err
		}
		pairs = stubs
	}
	slices.SortFunc(changes, func(x, y Change) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.StateKey, y.StateKey))
	})
	return changes, nil
}

// compareItems appends what differs between two leaves, either of which may be
// empty.
func compareItems(changes []Change, a, b *tree) []Change {
	var old, now []item
	if a != nil {
		old = a.items
	}
	if b != nil {
		now = b.items
	}
	for len(old) > 0 || len(now) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		default:
			order = comparePaths(old[0], now[0])
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Key: old[0].Key, Old: old[0].EventID})
			old = old[1:]
		case order > 0:
			changes = append(changes, Change{Key: now[0].Key, New: now[0].EventID})
			now = now[1:]
		default:
			if old[0].EventID != now[0].EventID {
				changes = append(changes, Change{now[0].Key, old[0].EventID, now[0].EventID})
			}
			old, now = old[1:], now[1:]
		}
	}
	return changes
}

// Walk gives the entries of the state root to yield until it returns false. The
// order is fixed for a room, non-member state first, and has no meaning. Chunks
// are loaded a hundred at a time, so that memory does not grow with the room.
func Walk(ctx context.Context, l Loader, room string, root Root, filter WalkFilter, yield func(Entry) bool) error {
	src := source{l, room}
	states, err := src.open(ctx, root)
	if err != nil {
		return err
	}
	var todo []place // the next one is the last
	for _, p := range states[0].places() {
		if filter == WalkAll || p.member == (filter == WalkMembers) {
			todo = append(todo, p)
		}
	}
	slices.Reverse(todo)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		if p.tree == nil || p.items != nil {
			todo = todo[:len(todo)-1]
			if p.tree == nil {
				continue
			}
			for _, it := range p.items {
				if !yield(it.Entry) {
					return nil
				}
			}
			continue
		}
		// Put the children of the next nodes in their place, loading as many
		// chunks as one batch takes.
		cut := max(0, len(todo)-window)
		next := slices.Clone(todo[cut:])
		if err := src.fill(ctx, next); err != nil {
			return err
		}
		todo = todo[:cut]
		for _, p := range next {
			if p.tree == nil || p.kids == nil {
				todo = append(todo, p)
				continue
			}
			for slot := fanout - 1; slot >= 0; slot-- {
				if kid := p.kids[slot]; kid != nil {
					todo = append(todo, p.child(slot, kid))
				}
			}
		}
	}
	return nil
}

// Reachable gives the address of each chunk of the state root to yield, a chunk
// before those below it. Where yield returns false, what lies below
// that chunk is left out and the rest goes on: a sweeper that marks
// from many roots returns false for what it has marked already, and pays only
// for what differs. If Reachable fails, marks made during the call say nothing
// about the chunks below them. Leaves are not read.
func Reachable(ctx context.Context, l Loader, root Root, yield func(Hash) bool) error {
	if root.IsZero() || !yield(root.Hash()) {
		return nil
	}
	src := source{l, "state " + root.String()}
	found, err := src.chunks(ctx, []Hash{root.Hash()})
	if err != nil {
		return err
	}
	data := found[root.Hash()]
	if kindOf(data) == kindLeaf {
		return nil
	}
	st, err := src.decodeState(root, data)
	if err != nil {
		return fmt.Errorf("state %s: %w", root, err)
	}
	var nodes []Hash
	visit := func(t *tree) {
		if t != nil && yield(t.hash) && !t.leaf {
			nodes = append(nodes, t.hash)
		}
	}
	visit(st.others)
	if st.members != nil && st.members.kids != nil { // they stand in the root
		for _, kid := range st.members.kids {
			visit(kid)
		}
	} else {
		visit(st.members)
	}
	for len(nodes) > 0 {
		cut := max(0, len(nodes)-window)
		batch := slices.Clone(nodes[cut:])
		nodes = nodes[:cut]
		found, err := src.chunks(ctx, batch)
		if err != nil {
			return err
		}
		for _, h := range batch {
			if kindOf(found[h]) != kindNode {
				return fmt.Errorf("chunk %s of state %s has kind %d, its reference says node: %w", h, root, kindOf(found[h]), ErrCorrupt)
			}
			kids, err := decodeNode(found[h])
			if err != nil {
				return fmt.Errorf("chunk %s of state %s: %w", h, root, err)
			}
			for _, kid := range kids {
				visit(kid)
			}
		}
	}
	return nil
}
