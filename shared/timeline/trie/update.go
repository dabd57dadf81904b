package trie

import (
	"context"
	"crypto/sha256"
	"slices"
)

// Build makes the trie of entries at once. The root is the one that updates
// from the empty state would reach. Of a key that comes more than once the last
// entry counts.
func Build(room string, entries []Entry) (Root, []Chunk, error) {
	return Update(context.Background(), nil, room, Root{}, entries)
}

// Update applies changes to the state root and returns the new root with the
// chunks to write before anything refers to it, each after the chunks that it
// refers to. An empty EventID removes the key; of a key that comes more than
// once the last change counts. Changes that change nothing give root and no
// chunks.
//
// All changes descend together, one Load a level. A removal may load the
// siblings of a leaf, to see whether they have become one leaf.
//
// The chunks that were reused, not returned, are those reachable from root. If
// root may be older than the sweeper's grace, it is for the caller to make sure
// that they live, or to write them again.
func Update(ctx context.Context, l Loader, room string, root Root, changes []Entry) (Root, []Chunk, error) {
	src := source{l, room}
	states, err := src.open(ctx, root)
	if err != nil {
		return Root{}, nil, err
	}
	st := states[0]
	others, members := splitSides(sortItems(room, changes))
	places := st.places()
	err = src.descend(ctx, []errand{{places[0], others}, {places[1], members}}, nil)
	if err != nil {
		return Root{}, nil, err
	}

	newOthers, shrunkOthers := apply(st.others, others, 0)
	newMembers, shrunkMembers := apply(st.members, members, 0)
	if newOthers == st.others && newMembers == st.members {
		return root, nil, nil
	}
	next := &state{newOthers, newMembers, st.whole || shrunkOthers || shrunkMembers}
	for {
		var need []place
		places := next.places()
		next.others = collapse(places[0], &need)
		next.members = collapse(places[1], &need)
		if len(need) == 0 {
			need = next.unknown()
		}
		if len(need) == 0 {
			break
		}
		if err := src.fill(ctx, need); err != nil {
			return Root{}, nil, err
		}
	}
	newRoot, chunks := next.seal()
	return newRoot, chunks, nil
}

// unknown lists the leaves to load before it is known whether the whole state
// is one leaf.
func (st *state) unknown() []place {
	if !st.whole || st.others != nil && !st.others.leaf || st.members != nil && !st.members.leaf {
		return nil
	}
	return slices.DeleteFunc(st.places(), func(p place) bool { return !p.isStub() })
}

// seal returns the root and the new chunks. whole means that the state may be
// one leaf; then both sides are known as far as they are leaves.
func (st *state) seal() (Root, []Chunk) {
	var chunks []Chunk
	var data []byte
	if st.others == nil && st.members == nil {
		return Root{}, nil
	}
	if items, ok := st.oneLeaf(); ok {
		data = encodeLeaf(items)
	} else {
		data = encodeRoot(st.others, st.members, &chunks)
	}
	root := Root(sha256.Sum256(data))
	return root, append(chunks, Chunk{root.Hash(), data})
}

// oneLeaf returns all entries if they are one leaf.
func (st *state) oneLeaf() ([]item, bool) {
	if !st.whole {
		return nil, false
	}
	var items []item
	for _, t := range []*tree{st.others, st.members} {
		if t != nil && !t.leaf {
			return nil, false
		}
		if t != nil {
			items = append(items, t.items...)
		}
	}
	slices.SortFunc(items, comparePaths)
	return items, isLeaf(items, 0)
}

// apply returns t with the changes made, or t itself if they change nothing,
// and whether some leaf became smaller. The paths of the changes are loaded.
func apply(t *tree, changes []item, depth int) (_ *tree, shrunk bool) {
	if len(changes) == 0 {
		return t, false
	}
	if t == nil || t.leaf {
		var old []item
		if t != nil {
			old = t.items
		}
		items := merge(old, changes)
		if slices.Equal(items, old) {
			return t, false
		}
		return grow(items, depth), leafSize(items) < leafSize(old)
	}
	kids := *t.kids
	bySlot(changes, depth, func(slot int, run []item) {
		kid, s := apply(kids[slot], run, depth+1)
		kids[slot] = kid
		shrunk = shrunk || s
	})
	if kids == *t.kids {
		return t, false
	}
	return &tree{kids: &kids, shrunk: shrunk}, shrunk
}

// merge returns old with the changes made.
func merge(old, changes []item) []item {
	items := make([]item, 0, len(old)+len(changes))
	for len(old) > 0 || len(changes) > 0 {
		if len(changes) == 0 {
			return append(items, old...)
		}
		order := -1
		if len(old) == 0 {
			order = 1
		} else {
			order = comparePaths(old[0], changes[0])
		}
		if order < 0 {
			items, old = append(items, old[0]), old[1:]
			continue
		}
		if order == 0 {
			old = old[1:]
		}
		if changes[0].EventID != "" {
			items = append(items, changes[0])
		}
		changes = changes[1:]
	}
	return items
}

// collapse turns nodes that have shrunk to a leaf's size into leaves, from the
// bottom up. Where the size is not known yet it adds the leaves to load to need
// and leaves the node for the next round.
func collapse(p place, need *[]place) *tree {
	t := p.tree
	if t == nil || !t.shrunk {
		return t
	}
	size, count := 1, 0
	var items []item
	var stubs []place
	stay := false
	for slot, kid := range t.kids {
		kid = collapse(p.child(slot, kid), need)
		t.kids[slot] = kid
		switch {
		case kid == nil:
		case !kid.leaf:
			stay = true
		case kid.isStub():
			stubs = append(stubs, p.child(slot, kid))
		default:
			size += leafSize(kid.items) - 1
			count += len(kid.items)
			items = append(items, kid.items...)
		}
	}
	if stay || size > maxLeaf && count+len(stubs) > 1 {
		return t
	}
	if len(stubs) > 0 {
		*need = append(*need, stubs...)
		return t
	}
	return grow(items, p.depth)
}
