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
// those before and after each event that has a position. Whoever stores a root
// anywhere else lists it here, or the sweeper of chunks deletes its state.
//
// What is committed while it runs may be missing. The positions are read
// eventually: whoever needs what was committed a moment ago needs what is being
// committed now as well, see rooms.SweepChunks.
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
	if err := give(head.Root, head.RowsRoot); err != nil {
		return err
	}
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Limit: rootsPage}.Prefix(eventPre)
	for {
		page, err := s.DB.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("read positions of %s: %w", room, err)
		}
		var ids []string
		for _, it := range page.Items {
			row, err := DecodeEvent(it)
			if err != nil {
				return err
			}
			if err := give(row.Root); err != nil {
				return err
			}
			if row.ID != "" {
				ids = append(ids, row.ID)
			}
		}
		rows, err := s.indexOf(ctx, room, ids)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := give(r.Before, r.After); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}

// indexOf returns the index rows of events that have one.
func (s *Service) indexOf(ctx context.Context, room string, ids []string) (rows []*IndexRow, err error) {
	missing := make(map[string]bool, len(ids))
	for _, id := range ids {
		missing[id] = true
	}
	for _, c := range []store.Consistency{store.Eventual, store.Consistent} {
		refs := make([]store.Ref, 0, len(missing))
		for id := range missing {
			refs = append(refs, store.Ref{Table: store.Events, Key: IndexKey(id)})
		}
		found, err := store.GetAll(ctx, s.DB, refs, c)
		if err != nil {
			return nil, fmt.Errorf("read event index: %w", err)
		}
		for _, it := range found {
			r := new(IndexRow)
			if err := store.Decode(it, r); err != nil {
				return nil, err
			}
			rows = append(rows, r)
			delete(missing, it.Key.Part[len(eventTable):])
		}
		if len(missing) == 0 {
			return rows, nil
		}
	}
	return nil, fmt.Errorf("%d events of %s are not indexed", len(missing), room)
}
