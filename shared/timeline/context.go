package timeline

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// ContextRequest is a request of /context.
type ContextRequest struct {
	Room, EventID string
	Limit         int // of the events before and after together
	Filter        *RoomEventFilter
}

// ContextResponse is an answer of /context. Start and End are the boundaries
// before and after its events, whether there is more beyond them or not.
type ContextResponse struct {
	Start  string            `json:"start"`
	End    string            `json:"end"`
	Before []json.RawMessage `json:"events_before"`
	Event  json.RawMessage   `json:"event"`
	After  []json.RawMessage `json:"events_after"`
	State  []json.RawMessage `json:"state"`
}

// Context returns an event, what happened before and after it, and the state at
// the last of these. The filter is not asked about the event itself. Half of the
// limit is for what was before, the rest for what came after.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
func (s *Service) Context(ctx context.Context, v Viewer, req ContextRequest) (*ContextResponse, error) {
	if req.Limit < 0 {
		return nil, mxerr.InvalidParam("limit must not be negative.")
	}
	w, err := s.open(ctx, v, req.Room)
	if err != nil {
		return nil, err
	}
	row, err := w.visible(ctx, req.EventID)
	if w.stranger && mxerr.Is(err, "M_NOT_FOUND") {
		// In a room that all may read there is no such event; others are closed.
		if _, closed := s.view(ctx, v, req.Room); closed != nil {
			err = closed
		}
	}
	if err != nil {
		return nil, err
	}
	limit := min(req.Limit, MaxMessages)
	before, start, _, err := w.page(ctx, 0, row.Pos-1, MessagesRequest{Backwards: true, Limit: limit / 2, Filter: req.Filter})
	if err != nil {
		return nil, err
	}
	after, stop, _, err := w.page(ctx, row.Pos, w.until, MessagesRequest{Limit: limit - limit/2, Filter: req.Filter})
	if err != nil {
		return nil, err
	}
	resp := &ContextResponse{Start: token.Position(start), End: token.Position(stop)}
	all := slices.Concat(before, []*EventRow{row}, after)
	shown, err := w.show(ctx, all, format{prev: true, bundle: true})
	if err != nil {
		return nil, err
	}
	n := len(before)
	resp.Before, resp.Event, resp.After = shown[:n], shown[n], shown[n+1:]
	resp.State, err = w.stateOfPage(ctx, all[len(all)-1].CurrentRoot(), all, req.Filter)
	return resp, err
}

// visible returns an event of the room, or M_NOT_FOUND if there is none that the
// user may see.
func (w *view) visible(ctx context.Context, eventID string) (*EventRow, error) {
	rows, err := w.s.EventsByID(ctx, w.room, []string{eventID})
	if err != nil {
		return nil, err
	}
	if row := rows[eventID]; row != nil {
		if ok, err := w.sees(ctx, row); err != nil || ok {
			return row, err
		}
	}
	return nil, noEvent(eventID)
}

func noEvent(eventID string) error {
	return mxerr.NotFound("There is no event %s that you may see in this room.", eventID)
}

// stateOfPage is what the filter wants of a state: for a lazy client without the
// members but those who sent the events.
func (w *view) stateOfPage(ctx context.Context, r trie.Root, rows []*EventRow, f *RoomEventFilter) ([]json.RawMessage, error) {
	ids, err := w.fullState(ctx, r, f.LazyLoadMembers)
	if err != nil {
		return nil, err
	}
	if f.LazyLoadMembers {
		users, err := senders(rows)
		if err != nil {
			return nil, err
		}
		members, err := w.s.StateIDs(ctx, w.room, r, memberKeys(users...))
		if err != nil {
			return nil, err
		}
		for key, eventID := range members {
			ids[trie.Key(key)] = eventID
		}
	}
	state, err := w.events(ctx, ids, f)
	if err != nil {
		return nil, err
	}
	return w.show(ctx, state, format{})
}
