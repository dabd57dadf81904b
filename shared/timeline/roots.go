package timeline

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// rootsPage is how many positions EachRoot reads at a time.
const rootsPage = 100

// EachRoot gives every state root by which somebody may read the room's state to
// yield, some of them often: the current ones of HEAD, that of each position, and
// those before and after each event, with a position or without. Whoever stores a
// root anywhere else lists it here, or the sweeper of chunks deletes its state.
//
// What is committed while it runs may be missing, but for what was there before:
// events without a position come first, so that one that takes a position
// meanwhile is found in one place or the other.
func (s *Service) EachRoot(ctx context.Context, room string, yield func(trie.Root) error) error {
	give := func(roots ...[]byte) error {
		for _, r := range roots {
			if len(r) == 0 {
				continue
			}
			if err := yield(root(r)); err != nil {
				return err
			}
		}
		return nil
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: HeadKey(room)}, store.Consistent)
	if err != nil {
		return fmt.Errorf("read head of %s: %w", room, err)
	}
	head, err := decodeHead(it)
	if err != nil {
		return err
	}
	if err := give(head.Root, head.RowsRoot, head.RowsTo); err != nil {
		return err
	}
	for _, prefix := range []string{outPre, eventPre} {
		q := store.Query{Table: store.Rooms, Part: RoomPart(room), Limit: rootsPage, Consistency: store.Consistent}.Prefix(prefix)
		for more := true; more; more = q.After != "" {
			page, err := s.DB.Query(ctx, q)
			if err != nil {
				return fmt.Errorf("read events of %s: %w", room, err)
			}
			q.After = page.Next
			var ids []string
			for _, it := range page.Items {
				eventID := it.Str("id")
				if prefix == outPre {
					eventID = it.Key.Sort[len(outPre):]
				} else if err := give(it.Bytes("cur")); err != nil {
					return err
				}
				if eventID != "" {
					ids = append(ids, eventID)
				}
			}
			rows, err := s.Index(ctx, ids)
			if err != nil {
				return err
			}
			if prefix == eventPre && len(rows) < len(ids) {
				return fmt.Errorf("%d events of %s are not indexed", len(ids)-len(rows), room)
			}
			for _, r := range rows {
				if err := give(r.Before, r.After); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
