package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// whole makes sure that what the HEAD of a room stands on is in the store: the
// whole of its current state, which is read to the last chunk, and its latest
// position with its event. A file that mixes moments has rooms where it is not.
func whole(ctx context.Context, db store.DB, it store.Item) error {
	room := roomOf(it)
	head, err := timeline.HeadOf(it)
	if err != nil {
		return fmt.Errorf("%w: the room %s: %w", ErrDamaged, room, err)
	}
	roots := map[string]bool{string(head.Root): true, string(head.RowsRoot): true, string(head.RowsTo): true}
	for root := range roots {
		if root == "" {
			continue
		}
		err := trie.Walk(ctx, chunks{db, room}, room, timeline.RootOf([]byte(root)), trie.WalkAll, func(trie.Entry) bool { return true })
		if err != nil {
			return fmt.Errorf("the state of the room %s is not whole: %w. What was exported is not of one moment", room, err)
		}
	}
	if head.Pos == 0 {
		return nil
	}
	e, err := db.Get(ctx, store.Ref{Table: store.Rooms, Key: timeline.EventKey(room, head.Pos)}, store.Consistent)
	if err == nil && e.Str("k") != timeline.KindState {
		_, err = db.Get(ctx, store.Ref{Table: store.Events, Key: timeline.IndexKey(e.Str("id"))}, store.Consistent)
	}
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the latest event of the room %s is missing. What was exported is not of one moment", room)
	}
	return err
}

// chunks loads the state of a room.
type chunks struct {
	db   store.DB
	room string
}

// Load implements trie.Loader.
func (c chunks) Load(ctx context.Context, hashes []trie.Hash) (map[trie.Hash][]byte, error) {
	refs := make([]store.Ref, len(hashes))
	for i, h := range hashes {
		refs[i] = store.Ref{Table: store.Rooms, Key: timeline.ChunkKey(c.room, h)}
	}
	items, err := store.GetAll(ctx, c.db, refs, store.Consistent)
	if err != nil {
		return nil, err
	}
	found := make(map[trie.Hash][]byte, len(items))
	for _, it := range items {
		h, err := trie.ParseHash(it.Key.Sort)
		if err != nil {
			return nil, err
		}
		found[h] = it.Bytes("b")
	}
	return found, nil
}
