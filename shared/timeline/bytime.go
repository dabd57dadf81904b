package timeline

import (
	"context"
	"math"

	"github.com/virga-im/virga/shared/mxerr"
)

// TimedEvent is an event with its time, in milliseconds.
type TimedEvent struct {
	EventID string `json:"event_id"`
	Time    int64  `json:"origin_server_ts"`
}

// timeSlack is how many events on either side of the place in question are looked
// at, since servers' clocks differ and their events arrive in any order.
const timeSlack = 50

// EventByTime returns the event that the user sees whose time is closest to ts, at
// or after it or, backwards, at or before it. It is M_NOT_FOUND if there is none.
//
// A room's order is roughly that of its events' times, so the place is found by
// halving: at most some 70 reads of a few rows, whatever the length of the history.
// Events that are out of order by more than timeSlack may be missed. From the place
// it reads on until it finds an event that the user sees, at most maxScan; where
// many in a row are hidden it goes on where the user's own membership changed next,
// since nothing is shown before that.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
func (s *Service) EventByTime(ctx context.Context, v Viewer, room string, ts int64, backwards bool) (*TimedEvent, error) {
	w, err := s.view(ctx, v, room)
	if err != nil {
		return nil, err
	}
	bound := ts
	if backwards && ts < math.MaxInt64 {
		bound++ // events at ts are before the place
	}
	edge, err := w.edge(ctx, bound)
	if err != nil {
		return nil, err
	}
	near := &nearest{w: w, ts: ts, backwards: backwards}
	// Those on the wrong side first, which are few, then on until one is found.
	if err := near.scan(ctx, edge, !backwards, timeSlack); err != nil {
		return nil, err
	}
	if err := near.scan(ctx, edge, backwards, maxScan); err != nil {
		return nil, err
	}
	if near.best == nil {
		return nil, mxerr.NotFound("There is no event that you may see on that side of the time.")
	}
	return near.best, nil
}

// edge returns a position such that the events up to it are of before a time, and
// those after it are not, if the room is in order.
func (w *view) edge(ctx context.Context, ts int64) (Pos, error) {
	first, err := w.s.Range(ctx, w.room, 0, w.until, false, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	last, err := w.s.Range(ctx, w.room, 0, w.until, true, 1)
	if err != nil || len(last) == 0 {
		return 0, err
	}
	low, high := first[0].Pos-1, last[0].Pos+1
	for high-low > 1 {
		mid := low + (high-low)/2
		rows, err := w.s.Range(ctx, w.room, mid-1, high-1, false, 4)
		if err != nil {
			return 0, err
		}
		before, at := false, Pos(0)
		for _, r := range rows {
			if r.Kind == KindState {
				continue // has no time of its own
			}
			e, err := r.Event()
			if err != nil {
				return 0, err
			}
			before, at = e.OriginServerTS < ts, r.Pos
			break
		}
		switch {
		case before:
			low = at
		case at == 0 && len(rows) == 4:
			low = rows[3].Pos // nothing but changes of state without an event
		default:
			high = mid
		}
	}
	return low, nil
}

// nearest looks for the event that is closest to a time on one side of it.
type nearest struct {
	w         *view
	ts        int64
	backwards bool
	best      *TimedEvent
}

// scan looks at up to limit events from a position, in either direction, and stops
// timeSlack after the first that will do.
func (n *nearest) scan(ctx context.Context, from Pos, reverse bool, limit int) error {
	low, high := from, n.w.until
	if reverse {
		low, high = 0, from
	}
	hidden, since := 0, 0
	found := false
	for scanned := 0; scanned < limit; {
		page := min(limit-scanned, timeSlack)
		rows, err := n.w.s.Range(ctx, n.w.room, low, high, reverse, page)
		if err != nil {
			return err
		}
		for _, r := range rows {
			scanned++
			if reverse {
				high = r.Pos - 1
			} else {
				low = r.Pos
			}
			ok, err := n.look(ctx, r)
			if err != nil {
				return err
			}
			if found = found || ok; found {
				if since++; since > timeSlack {
					return nil
				}
			}
			if hidden++; ok {
				hidden = 0
			}
		}
		if len(rows) < page {
			return nil
		}
		if hidden < maxUnseen || found {
			continue
		}
		next, ok := n.w.transitionFrom(low, high, reverse)
		if !ok {
			continue
		}
		hidden = 0
		if reverse {
			high = next
		} else {
			low = next - 1
		}
	}
	return nil
}

// look takes an event that is closer than the best so far, and reports whether it
// is on the right side and shown.
func (n *nearest) look(ctx context.Context, r *EventRow) (bool, error) {
	if r.Kind == KindState {
		return false, nil
	}
	e, err := r.Event()
	if err != nil {
		return false, err
	}
	at := e.OriginServerTS
	if n.backwards && at > n.ts || !n.backwards && at < n.ts {
		return false, nil
	}
	ok, err := n.w.shows(ctx, r, &RoomEventFilter{})
	if err != nil || !ok {
		return false, err
	}
	if n.best == nil || n.backwards && at > n.best.Time || !n.backwards && at < n.best.Time {
		n.best = &TimedEvent{r.ID, at}
	}
	return true, nil
}

// transitionFrom returns the next position in a direction at which the user's
// membership changed.
func (w *view) transitionFrom(low, high Pos, reverse bool) (Pos, bool) {
	var next Pos
	for _, t := range w.cursor.Transitions { // oldest first
		switch {
		case reverse && t.Pos <= high:
			next = t.Pos
		case !reverse && t.Pos > low:
			return t.Pos, true
		}
	}
	return next, next != 0
}
