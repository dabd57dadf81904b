package rooms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// SweepsChunks is what SweepChunks uses.
var SweepsChunks = grant.Of(grant.ReadTable("rooms", "events", "server"), grant.WriteTable("rooms", "server"))

const (
	// markEvery is how often a room's chunks are marked at most. It reads all of
	// the room's positions.
	markEvery = 7 * 24 * time.Hour
	// chunkGrace is how old a chunk must be to be deleted.
	chunkGrace = 24 * time.Hour
	// maxMarks bounds the memory of a sweep, to some 100 MB. A room that has more
	// chunks keeps its garbage.
	maxMarks = 2_000_000
)

// Swept is what became of the chunks of a room.
type Swept struct {
	Kept    int // some root needs them
	Young   int // none does, yet
	Deleted int
	Bytes   int // of the deleted ones
}

// SweepChunks deletes chunks that no root of their room needs: those of events
// that lost against others, or whose writer died before the transaction. Each
// room is looked at once a week at most. One that fails does not keep the others.
//
// Nothing that a root needs is deleted, although roots are added meanwhile. A
// writer's new state has two kinds of chunks. Those that its base, the current
// state, has not, it puts all anew, with the time of now in born, whether they are
// there or not; so they are too young when this sweep began, or the deletion, which
// is conditional on born, fails. The others are the base's: either its root was
// among those that were marked, or it was itself added meanwhile, and the same is
// true of its chunks. A writer has to commit within chunkGrace of its puts.
func (s *Service) SweepChunks(ctx context.Context) error {
	until := s.Clock.Now().Add(sweepFor)
	var errs []error
	err := s.eachRoom(ctx, "chunks", func(ctx context.Context, rows []store.Item) (bool, error) {
		for _, row := range rows {
			if ctx.Err() != nil || !s.Clock.Now().Before(until) {
				return true, ctx.Err() // the others are due when the next round comes
			}
			if err := s.sweepRoom(ctx, row); err != nil {
				errs = append(errs, fmt.Errorf("sweep chunks of %s: %w", row.Key.Sort, err))
			}
		}
		return false, nil
	})
	return errors.Join(append(errs, err)...)
}

// sweepRoom sweeps the room of a row of the index if it is due.
func (s *Service) sweepRoom(ctx context.Context, row store.Item) error {
	room, now := row.Key.Sort, s.Clock.Now()
	if last := max(row.Int("at"), row.Int("m")); now.Sub(time.UnixMilli(last)) < markEvery {
		return nil
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: timeline.HeadKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	version := it.Int(timeline.HeadVersion)
	// Whoever moves the time of the last mark marks; a run that dies leaves the
	// room to the next week.
	claim := store.Update(store.Server, row.Key).Set("m", clock.Millis(now)).If(store.Exists())
	if row.Int("m") == 0 {
		claim = claim.If(store.Absent("m"))
	} else {
		claim = claim.If(store.Equal("m", row.Int("m")))
	}
	if _, err := s.DB.Write(ctx, claim); store.Failed(err) != nil {
		return nil
	} else if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if row.Int("v") == version {
		return nil // nothing happened since a sweep that left nothing to do
	}
	swept, err := s.sweepChunks(ctx, room, now)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "chunks swept", "room_id", room, "kept", swept.Kept, "young", swept.Young, "deleted", swept.Deleted, "bytes", swept.Bytes)
	if swept.Young > 0 {
		return nil
	}
	done := store.Update(store.Server, row.Key).Set("v", version).If(store.Equal("m", clock.Millis(now)))
	if _, err := s.DB.Write(ctx, done); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

var errTooManyChunks = errors.New("the room has too many chunks to be swept")

// sweepChunks marks from every root of the room, and deletes what is not marked
// and was born long enough before now. After any error nothing is deleted: marks
// that are not complete say nothing.
func (s *Service) sweepChunks(ctx context.Context, room string, now time.Time) (swept Swept, err error) {
	marks := map[trie.Hash]struct{}{}
	load := s.Timeline.Loader(room)
	err = s.Timeline.EachRoot(ctx, room, func(r trie.Root) error {
		err := trie.Reachable(ctx, load, r, func(h trie.Hash) bool {
			if _, marked := marks[h]; marked || len(marks) > maxMarks {
				return false
			}
			marks[h] = struct{}{}
			return true
		})
		if err == nil && len(marks) > maxMarks {
			err = errTooManyChunks
		}
		return err
	})
	if err != nil {
		return swept, fmt.Errorf("mark: %w", err)
	}
	born := clock.Millis(now.Add(-chunkGrace))
	for _, part := range timeline.ChunkParts(room) {
		q := store.Query{Table: store.Rooms, Part: part}
		for more := true; more; more = q.After != "" {
			page, err := s.DB.Query(ctx, q)
			if err != nil {
				return swept, fmt.Errorf("list chunks: %w", err)
			}
			q.After = page.Next
			var garbage []store.Item
			for _, it := range page.Items {
				h, err := trie.ParseHash(it.Key.Sort)
				if err != nil {
					return swept, err
				}
				_, marked := marks[h]
				switch {
				case marked:
					swept.Kept++
				case it.Int("born") >= born:
					swept.Young++
				default:
					garbage = append(garbage, it)
				}
			}
			if err := s.deleteChunks(ctx, garbage, &swept); err != nil {
				return swept, err
			}
		}
	}
	return swept, nil
}

// deleteChunks deletes those of the chunks that nobody has put again.
func (s *Service) deleteChunks(ctx context.Context, garbage []store.Item, swept *Swept) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, 16)
	for _, it := range garbage {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, err := s.DB.Write(ctx, store.Delete(store.Rooms, it.Key).If(store.Equal("born", it.Int("born"))))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case store.Failed(err) != nil:
				swept.Young++
			case err != nil:
				errs = append(errs, fmt.Errorf("delete chunk: %w", err))
			default:
				swept.Deleted++
				swept.Bytes += store.Size(it)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
