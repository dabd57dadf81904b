package rooms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/words"
	"github.com/virga-im/virga/shared/userlog"
)

// maxSteps is how much of a room is indexed at a time, in steps; what is left is
// for the next change, or the sweep.
const maxSteps = 64

// indexLag is how many positions of the room's last segment are not indexed.
func indexLag(head timeline.Pos, fan timeline.Fan) int64 {
	return int64(head - max(fan.Indexed, userlog.FirstPos-1))
}

// indexWords brings the index of words of a room up to its HEAD, as far as there is
// enough to be indexed, see timeline.WordIndex. Searches read what is not indexed, so
// that it waits until everybody was told, and what fails is left to the next time.
func (s *Service) indexWords(ctx context.Context, room string, head *timeline.Head, fan timeline.Fan) {
	fresh := indexLag(head.Pos, fan) >= timeline.IndexStep
	// A change that has nothing new for anybody may be one of the past.
	past := head.Gapped && fan.Done >= head.Pos
	if !fresh && !past {
		return
	}
	if err := s.tryIndexWords(ctx, room, head, fan); err != nil && ctx.Err() == nil {
		slog.ErrorContext(ctx, "words not indexed", "room_id", room, "error", err)
	}
}

func (s *Service) tryIndexWords(ctx context.Context, room string, head *timeline.Head, fan timeline.Fan) error {
	w := &indexer{s: s, room: room, head: head}
	var err error
	if w.over, err = s.Timeline.Encrypted(ctx, room); err != nil {
		return err
	}
	if !w.over {
		if w.x, err = s.Timeline.WordIndex(ctx, room); err != nil {
			return err
		}
	}
	for n, more := 0, !w.over; more && n < maxSteps; n++ {
		if more, err = w.step(ctx); err != nil {
			return w.overtaken(ctx, err)
		}
	}
	// The row says how many are left. Nothing depends on it but when the next look is.
	if hint := head.Pos - timeline.Pos(w.rest); w.over && hint > fan.Indexed {
		if _, err := s.DB.Write(ctx, store.Update(store.Server, timeline.FanKey(room)).Set("ix", int64(hint))); err != nil {
			return fmt.Errorf("say how far %s is indexed: %w", room, err)
		}
	}
	return nil
}

// indexer adds to the index of a room.
type indexer struct {
	s    *Service
	room string
	head *timeline.Head
	x    timeline.WordIndex
	// over says that there is nothing left to do, and rest how many of the newest
	// positions are not indexed.
	over bool
	rest int
}

// overtaken returns nil instead of the error if a run was gone because somebody else
// has moved the index on.
func (w *indexer) overtaken(ctx context.Context, err error) error {
	if !errors.Is(err, timeline.ErrRunGone) {
		return err
	}
	if now, e := w.s.Timeline.WordIndex(ctx, w.room); e != nil || now.Version == w.x.Version {
		return errors.Join(err, e)
	}
	return nil
}

// step indexes some positions. It reports false if there are too few.
func (w *indexer) step(ctx context.Context) (more bool, err error) {
	next := w.x
	rows, err := w.advance(ctx, &next)
	if err != nil || rows == nil {
		return false, err
	}
	entries, err := w.s.Timeline.Entries(ctx, w.room, rows, w.x.Indexed)
	if err != nil {
		return false, err
	}
	next.Version++
	next.Dropped = nil
	var made []words.Row
	if len(entries) > 0 {
		if made, err = w.add(ctx, &next, words.Build(entries)); err != nil {
			return false, err
		}
	}
	if err := w.deleteRuns(ctx, w.x.Dropped); err != nil {
		return false, err
	}
	// The rows of a run are named by their content, so that writing them is idempotent.
	if len(made) > 0 {
		id := words.ID(next.Version, made)
		err := each(made, func(r words.Row) error {
			_, err := w.s.DB.Write(ctx, store.Put(store.Events, timeline.RunKey(w.room, id, r.Name), store.Attrs{"b": r.Data}))
			return err
		})
		if err != nil {
			return false, fmt.Errorf("write run of %s: %w", w.room, err)
		}
	}
	return w.commit(ctx, next)
}

// advance finds positions that are not indexed, and moves the index past them. Rows
// are nil if there are too few, and may be none if a hole turns out to be empty.
//
// The gaps are read after HEAD and before the positions: of a segment that HEAD has
// reached and no gap is before, all is here.
func (w *indexer) advance(ctx context.Context, x *timeline.WordIndex) ([]*timeline.EventRow, error) {
	open := map[timeline.Pos]bool{}
	if w.head.Gapped {
		gaps, err := w.s.Timeline.Gaps(ctx, w.room)
		if err != nil {
			return nil, err
		}
		for _, g := range gaps {
			open[timeline.SegmentOf(g.Low)] = true
		}
	}
	rows, err := w.s.Timeline.Range(ctx, w.room, x.High, w.head.Pos, false, timeline.IndexStep)
	if err != nil {
		return nil, err
	}
	x.Holes = slices.Clone(x.Holes)
	if len(rows) == timeline.IndexStep {
		for _, r := range rows {
			segment := timeline.SegmentOf(r.Pos)
			if open[segment] && (x.High == 0 || segment > timeline.SegmentOf(x.High)) {
				x.Holes = append(x.Holes, timeline.Hole{Segment: segment, Low: r.Pos})
			}
			x.High = r.Pos
		}
		return rows, nil
	}
	w.rest = len(rows)
	for i, h := range x.Holes {
		rows, err := w.s.Timeline.Range(ctx, w.room, h.Below(), h.Low-1, true, timeline.IndexStep)
		switch {
		case err != nil:
			return nil, err
		case len(rows) == timeline.IndexStep:
			x.Holes[i].Low = rows[len(rows)-1].Pos
		case !open[h.Segment]:
			x.Holes = slices.Delete(x.Holes, i, i+1)
			rows = append([]*timeline.EventRow{}, rows...)
		default:
			continue
		}
		return rows, nil
	}
	w.over = true
	return nil, nil
}

// add adds a run to the index, with those that become a part of it: one that is
// small, all small ones once they are many together, and all once they are full. It
// returns the rows of the run.
func (w *indexer) add(ctx context.Context, x *timeline.WordIndex, run *words.Run) ([]words.Row, error) {
	young := slices.Clone(x.Young)
	parts, docs := []*words.Run{run}, len(run.Docs)
	take := func(from int) error {
		for _, ref := range young[from:] {
			part, err := w.s.Timeline.Run(ctx, w.room, ref)
			if err != nil {
				return err
			}
			parts, docs = append(parts, part), docs+ref.Docs
			x.Dropped = append(x.Dropped, ref.ID)
		}
		young = young[:from]
		return nil
	}
	together := func(from int) (n int) {
		for _, ref := range young[from:] {
			n += ref.Docs
		}
		return n
	}
	if n := len(young); n > 0 && young[n-1].Docs < timeline.IndexStep {
		if err := take(n - 1); err != nil {
			return nil, err
		}
	}
	small := len(young) // those from here on are
	for small > 0 && young[small-1].Docs < timeline.MiddleRun {
		small--
	}
	if docs+together(small) >= timeline.MiddleRun {
		if err := take(small); err != nil {
			return nil, err
		}
		if docs+together(0) >= timeline.FullRun {
			if err := take(0); err != nil {
				return nil, err
			}
		}
	}
	run = words.Merge(parts...)
	rows := run.Rows()
	ref := timeline.RunRef{
		ID: words.ID(x.Version, rows), Docs: len(run.Docs), Rows: len(rows), New: run.Docs[0].Time, Old: run.Docs[len(run.Docs)-1].Time,
	}
	if x.Young = append(young, ref); ref.Docs >= timeline.FullRun {
		x.Young, x.Full = young, append(slices.Clone(x.Full), ref)
	}
	return rows, nil
}

// commit moves the index on. It reports false if somebody else has.
func (w *indexer) commit(ctx context.Context, next timeline.WordIndex) (bool, error) {
	var ws []store.Write
	if len(next.Full) == timeline.OldPack {
		ws = append(ws, store.Put(store.Events, timeline.OldRunsKey(w.room, next.Old), store.Attrs{"rs": timeline.EncodeRuns(next.Full)}))
		next.Full, next.Old = nil, next.Old+1
	}
	moved := store.Put(store.Events, timeline.WordIndexKey(w.room), next.Encode())
	if w.x.Version == 0 {
		moved = moved.If(store.NotExists())
	} else {
		moved = moved.If(store.Equal("v", w.x.Version))
	}
	var err error
	if len(ws) == 0 {
		_, err = w.s.DB.Write(ctx, moved)
	} else {
		err = w.s.DB.Transact(ctx, append(ws, moved)...)
	}
	if store.Failed(err) != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("move index of words of %s: %w", w.room, err)
	}
	w.x = next
	return true, nil
}

// deleteRuns deletes the rows of runs that are not part of the index any more: in
// their order, so that who still looks a word up finds the row that may have it, or
// none.
func (w *indexer) deleteRuns(ctx context.Context, runs []string) error {
	return each(runs, func(id string) error {
		part := timeline.RunKey(w.room, id, "")
		q := store.Query{Table: store.Events, Part: part.Part, Consistency: store.Consistent}.Prefix(part.Sort)
		for it, err := range store.All(ctx, w.s.DB, q) {
			if err != nil {
				return fmt.Errorf("read run of %s: %w", w.room, err)
			}
			if _, err := w.s.DB.Write(ctx, store.Delete(store.Events, it.Key)); err != nil {
				return fmt.Errorf("delete run of %s: %w", w.room, err)
			}
		}
		return nil
	})
}

// each does something with each of a list, some at a time.
func each[T any](list []T, do func(T) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	slots := make(chan struct{}, 16)
	for i, x := range list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = do(x)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
