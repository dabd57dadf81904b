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
// begins anew. The place is written where a run stops, and on the way after so
// many rooms that it would be a pity to begin again; a run that dies is repeated
// from there. Of two runs at once, the slower one ends. A server of few rooms
// pays for no writes.
func (s *Service) eachRoom(ctx context.Context, sweep string, do func(context.Context, []store.Item) (enough bool, err error)) error {
	at, err := s.place(ctx, sweep)
	if err != nil {
		return err
	}
	began := at
	until := s.Clock.Now().Add(sweepFor)
	since := 0 // rooms
	for at.shard < indexShards {
		page, err := s.DB.Query(ctx, store.Query{Table: store.Server, Part: indexPart(at.shard), After: at.after, Limit: slice})
		if err != nil {
			return fmt.Errorf("list rooms: %w", err)
		}
		enough := false
		if len(page.Items) > 0 {
			if enough, err = do(ctx, page.Items); err != nil {
				return err
			}
		}
		if at.after = page.Next; at.after == "" {
			at.shard++
		}
		if at.shard == indexShards {
			break
		}
		stop := enough || !s.Clock.Now().Before(until)
		if since += len(page.Items); stop || since >= slice {
			if ok, err := s.moveTo(ctx, sweep, &at); err != nil || !ok || stop {
				return err
			}
			since = 0
		}
	}
	if at.shard = 0; began.version == at.version && began.shard == 0 && began.after == "" {
		return nil // from the beginning to the end
	}
	_, err = s.moveTo(ctx, sweep, &at)
	return err
}

// place is where a sweep is in the index.
type place struct {
	shard   int
	after   string
	version int64 // zero: there is none yet
}

// moveTo writes the place, if no other run has.
func (s *Service) moveTo(ctx context.Context, sweep string, p *place) (bool, error) {
	w := store.Put(store.Server, placeKey(sweep), store.Attrs{"shard": int64(p.shard), "after": p.after, "v": p.version + 1})
	if p.version == 0 {
		w = w.If(store.NotExists())
	} else {
		w = w.If(store.Equal("v", p.version))
	}
	if _, err := s.DB.Write(ctx, w); store.Failed(err) != nil {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("move place of sweep %s: %w", sweep, err)
	}
	p.version++
	return true, nil
}

func (s *Service) place(ctx context.Context, sweep string) (place, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: placeKey(sweep)}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return place{}, fmt.Errorf("read place of sweep %s: %w", sweep, err)
	}
	return place{int(it.Int("shard")), it.Str("after"), it.Int("v")}, nil
}
