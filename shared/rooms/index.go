package rooms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
)

// The index of rooms is how sweeps find them; a store has no list of its
// partitions. It is cut into shards so that no partition holds all rooms.

// indexShards never changes: a room's shard follows from its id.
const indexShards = 16

func indexPart(shard int) string { return fmt.Sprintf("ROOMS#%02d", shard) }

func indexKey(room string) store.Key {
	sum := sha256.Sum256([]byte(room))
	return store.Key{Part: indexPart(int(sum[0]) % indexShards), Sort: room}
}

// indexWrite lists a room, in the transaction that opens it.
func indexWrite(room string, now time.Time) store.Write {
	return store.Put(store.Server, indexKey(room), store.Attrs{"at": clock.Millis(now)})
}

func placeKey(sweep string) store.Key { return store.Key{Part: "SWEEP#" + sweep, Sort: "PLACE"} }

// slice is how many rooms a sweep looks at together.
const slice = 100

// sweepFor bounds a run of a sweep, so that it ends before its function is
// ended.
const sweepFor = time.Minute

// eachRoom goes on through the index where the last run of the sweep stopped. It
// calls do with the rows of some rooms at a time, until there are no more, do
// says that it was enough, or the time is up; then the next run goes on, or
// begins anew. The place moves when do is done, so a run that dies is repeated
// from there. After an error it stays, unless do handled that itself. Of two
// runs at once, the slower one ends.
func (s *Service) eachRoom(ctx context.Context, sweep string, do func(context.Context, []store.Item) (enough bool, err error)) error {
	it, err := s.place(ctx, sweep)
	if err != nil {
		return err
	}
	shard, after, version := int(it.Int("shard")), it.Str("after"), it.Int("v")
	until := s.Clock.Now().Add(sweepFor)
	for enough := false; !enough && shard < indexShards && s.Clock.Now().Before(until); {
		page, err := s.DB.Query(ctx, store.Query{Table: store.Server, Part: indexPart(shard), After: after, Limit: slice})
		if err != nil {
			return fmt.Errorf("list rooms: %w", err)
		}
		if len(page.Items) > 0 {
			if enough, err = do(ctx, page.Items); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			shard++
		}
		at := shard
		if at == indexShards {
			at = 0
		}
		w := store.Put(store.Server, placeKey(sweep), store.Attrs{"shard": int64(at), "after": after, "v": version + 1})
		if version == 0 {
			w = w.If(store.NotExists())
		} else {
			w = w.If(store.Equal("v", version))
		}
		if _, err := s.DB.Write(ctx, w); store.Failed(err) != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("move place of sweep %s: %w", sweep, err)
		}
		version++
	}
	return nil
}

func (s *Service) place(ctx context.Context, sweep string) (store.Item, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: placeKey(sweep)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return it, nil
	}
	if err != nil {
		return it, fmt.Errorf("read place of sweep %s: %w", sweep, err)
	}
	return it, nil
}
