package rooms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// gap is a GAP# row with its key.
type gap struct {
	key store.Key
	timeline.GapRow
}

// gapsBefore returns the gaps of the room that miss an event.
func (b *batch) gapsBefore(ctx context.Context, eventID string) ([]gap, error) {
	all, err := b.gaps(ctx)
	return slices.DeleteFunc(all, func(g gap) bool { return !slices.Contains(g.Missing, eventID) }), err
}

func (b *batch) gaps(ctx context.Context) ([]gap, error) {
	if !b.head.Gapped {
		return nil, nil
	}
	rows, err := b.s.Timeline.Gaps(ctx, b.room)
	if err != nil {
		return nil, err
	}
	var gaps []gap
	for k, row := range rows {
		gaps = append(gaps, gap{k, row})
	}
	slices.SortFunc(gaps, func(x, y gap) int { return cmp.Compare(y.key.Sort, x.key.Sort) }) // newest first
	return gaps, nil
}

// placeInPast gives an event that a gap misses the position below the gap's
// segment. It makes no log entry, and its state is not the current one: the room
// has gone on from a state that other servers told.
func (b *batch) placeInPast(ctx context.Context, a accepted, gaps []gap) error {
	e := a.event
	row, after, err := b.rowOf(ctx, a)
	if err != nil {
		return err
	}
	pos := gaps[0].Low - 1
	row.Root = after[:]
	if err := b.adopt(ctx, e, &row); err != nil {
		return err
	}
	kin, err := b.kinOf(ctx, e, true)
	if err != nil {
		return err
	}
	if kin != nil && row.Redacted == "" {
		if err := b.relate(ctx, e, kin, pos, row.Visibility); err != nil {
			return err
		}
	}
	// Seen tells when it became known, which its position does not.
	b.place(a, row, timeline.IndexRow{
		Room: b.room, Pos: pos, Before: a.before[:], After: after[:], View: a.view.Encode(), Seen: max(b.head.Pos, 1),
	})
	if e.Type == typeRedaction && !e.IsState() && e.Redacts != "" {
		if err := b.redact(ctx, redaction{e, a.before, pos}); err != nil {
			return err
		}
	}
	// What it follows may have been a forward extremity beside the segment.
	if b.unexpose(a) {
		if err := b.restate(ctx); err != nil {
			return err
		}
	}
	gaps[0].Low = pos
	return b.narrow(ctx, e.ID, a.behind, gaps)
}

// passOver lets gaps that miss an event which takes no position there, most often
// because it was rejected, miss what is before it.
func (b *batch) passOver(ctx context.Context, row *timeline.IndexRow, e *pdu.Event, gaps []gap) error {
	behind, err := b.lookBehind(ctx, e)
	if err != nil {
		return err
	}
	if row.Pos == 0 {
		behind.through = append(behind.through, row)
	}
	if b.unexpose(accepted{event: e, behind: behind}) {
		if err := b.restate(ctx); err != nil {
			return err
		}
	}
	return b.narrow(ctx, e.ID, behind, gaps)
}

// narrow writes the batch with the gaps in which an event was missing: what is
// missing instead is what is before it. HEAD moves on, though most often nothing in
// it changes but its version: whoever is accepting just now what is missing from
// here on has to look at the gaps again, or it would be taken for news.
func (b *batch) narrow(ctx context.Context, eventID string, f behind, gaps []gap) error {
	if err := b.writeChunks(ctx); err != nil {
		return err
	}
	for i, g := range gaps {
		g.Missing = slices.DeleteFunc(g.Missing, func(m string) bool { return m == eventID })
		if i == 0 {
			for _, m := range f.missing {
				if !slices.Contains(g.Missing, m) {
					g.Missing = append(g.Missing, m)
				}
			}
		}
		if len(g.Missing) == 0 {
			b.rows[g.key] = store.Delete(store.Rooms, g.key)
			continue
		}
		b.rows[g.key] = store.Put(store.Rooms, g.key, store.Encode(g.GapRow))
	}
	b.stay = f.stay
	if err := b.s.DB.Transact(ctx, b.transaction()...); err != nil {
		return fmt.Errorf("place %s in the past of %s: %w", eventID, b.room, err)
	}
	return nil
}

// Backfill takes events of the room's past, in any order: those that lead back
// from a gap get positions below it, the newest first, until the gap is closed or
// the events are used up. Events that no gap leads to are kept as outliers. It
// may be repeated, and reports how many events got a position.
//
// The state before the oldest of them must be known, or be told with them
// (Incoming.After): else the error is a *MissingError, after what could be placed
// was placed.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (s *Service) Backfill(ctx context.Context, room string, events []Incoming) (placed int, err error) {
	ids := map[string]bool{}
	var missing MissingError
	for _, in := range oldestFirst(events) {
		verdict, err := s.receive(ctx, room, in, past)
		var m *MissingError
		switch {
		case errors.As(err, &m):
			missing.Auth, missing.Prev = append(missing.Auth, m.Auth...), append(missing.Prev, m.Prev...)
		case err != nil:
			return 0, err
		case verdict.Outcome != receipt.Dropped:
			ids[in.Event().ID] = true
		}
	}
	for more := true; more; {
		n := 0
		if more, n, err = s.placeNext(ctx, room, ids); err != nil {
			return placed, err
		}
		placed += n
	}
	if len(missing.Auth)+len(missing.Prev) > 0 {
		return placed, &missing
	}
	return placed, nil
}

// placeNext gives the newest event of ids that a gap misses its position, or if it
// was rejected lets the gap miss what is before it. It reports false if no gap
// misses any.
func (s *Service) placeNext(ctx context.Context, room string, ids map[string]bool) (more bool, placed int, err error) {
	defer s.lock(room)()
	for try := range maxTries {
		more, placed, err = s.placeOnce(ctx, room, ids)
		if store.Failed(err) == nil && !busy(err) {
			return more, placed, err
		}
		if err := s.pause(ctx, try); err != nil {
			return false, 0, err
		}
	}
	return false, 0, errBusy
}

func (s *Service) placeOnce(ctx context.Context, room string, ids map[string]bool) (more bool, placed int, err error) {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return false, 0, &unknownRoom{err}
	}
	b, err := s.newBatch(ctx, room, head)
	if err != nil {
		return false, 0, err
	}
	gaps, err := b.gaps(ctx)
	if err != nil {
		return false, 0, err
	}
	row, e, err := b.newestMissing(ctx, gaps, ids)
	if err != nil || e == nil {
		return false, 0, err
	}
	gaps = slices.DeleteFunc(gaps, func(g gap) bool { return !slices.Contains(g.Missing, e.ID) })
	if row.Status == timeline.Rejected || row.Pos != 0 {
		return true, 0, b.passOver(ctx, row, e, gaps)
	}
	behind, err := b.lookBehind(ctx, e)
	if err != nil {
		return false, 0, err
	}
	view, err := viewOf(row)
	if err != nil {
		return false, 0, err
	}
	a := accepted{event: e, view: view, before: row.BeforeRoot(), known: row, behind: behind, foreign: true}
	return true, 1, b.placeInPast(ctx, a, gaps)
}

// newestMissing returns the newest of those of the events that the first gap which
// misses any of them misses.
func (b *batch) newestMissing(ctx context.Context, gaps []gap, ids map[string]bool) (*timeline.IndexRow, *pdu.Event, error) {
	for _, g := range gaps {
		var wanted []string
		for _, m := range g.Missing {
			if ids[m] {
				wanted = append(wanted, m)
			}
		}
		index, err := b.s.Timeline.Index(ctx, wanted)
		if err != nil {
			return nil, nil, err
		}
		bodies, err := b.bodies(ctx, wanted)
		if err != nil {
			return nil, nil, err
		}
		var newest *pdu.Event
		for _, eventID := range wanted {
			e, row := bodies[eventID], index[eventID]
			if e == nil || row == nil || !row.Judged() {
				continue
			}
			if newest == nil || e.Depth > newest.Depth || e.Depth == newest.Depth && e.ID > newest.ID {
				newest = e
			}
		}
		if newest != nil {
			return index[newest.ID], newest, nil
		}
	}
	return nil, nil, nil
}

// maxBehind bounds how many events without a position are looked through for what
// is behind them.
const maxBehind = 100

// behind is what an event follows, as far as it is not simply in the room.
type behind struct {
	// placed are the events with a position that it follows, also by way of
	// through.
	placed []string
	// through are rejected and soft-failed events, which have none.
	through []*timeline.IndexRow
	// missing are those that are not here, or whose place is not known yet.
	missing []string
	// stay are conditions that what is missing is so still.
	stay map[string]store.Write
}

// lookBehind finds out what an event follows.
func (b *batch) lookBehind(ctx context.Context, e *pdu.Event) (f behind, err error) {
	f.stay = map[string]store.Write{}
	seen := map[string]bool{e.ID: true}
	for level := e.PrevEvents; len(level) > 0; {
		index, err := b.s.Timeline.Index(ctx, level)
		if err != nil {
			return f, err
		}
		var next []string
		for _, eventID := range level {
			row := index[eventID]
			switch {
			case seen[eventID]:
				continue
			case row == nil || row.Room != b.room || row.Pos == 0 && row.Status == timeline.Outlier || len(seen) > maxBehind:
				f.missing = append(f.missing, eventID)
				if w, ok := stillMissing(eventID, row); ok {
					f.stay[eventID] = w
				}
			case row.Pos != 0:
				f.placed = append(f.placed, eventID)
			default:
				unplaced, err := pdu.Load(b.v, eventID, row.JSON)
				if err != nil {
					return f, err
				}
				f.through = append(f.through, row)
				next = append(next, unplaced.PrevEvents...)
			}
			seen[eventID] = true
		}
		level = next
	}
	return f, nil
}

// stillMissing is the condition that an event has not been judged meanwhile. Who
// judges it looks at the gaps after that, and would find none.
func stillMissing(eventID string, row *timeline.IndexRow) (w store.Write, ok bool) {
	k := timeline.IndexKey(eventID)
	switch {
	case row == nil:
		return store.Check(store.Events, k, store.NotExists()), true
	case row.Pos == 0 && row.Status == timeline.Outlier:
		return store.Check(store.Events, k, store.Equal("st", int64(timeline.Outlier))), true
	}
	return w, false
}

// oldestFirst sorts events so that each comes after those of them that it follows.
func oldestFirst(events []Incoming) []Incoming {
	byID := map[string]Incoming{}
	for _, in := range events {
		byID[in.Event().ID] = in
	}
	slices.SortFunc(events, func(x, y Incoming) int {
		return cmp.Or(cmp.Compare(x.Event().Depth, y.Event().Depth), cmp.Compare(x.Event().ID, y.Event().ID))
	})
	var sorted []Incoming
	entered, done := map[string]bool{}, map[string]bool{}
	// A stack of our own: the events are as many as a stranger sends.
	for _, in := range events {
		stack := []Incoming{in}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			eventID := top.Event().ID
			if !entered[eventID] {
				entered[eventID] = true
				for _, prev := range top.Event().PrevEvents {
					if before, ok := byID[prev]; ok && !entered[prev] {
						stack = append(stack, before)
					}
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if !done[eventID] {
				done[eventID] = true
				sorted = append(sorted, top)
			}
		}
	}
	return sorted
}
