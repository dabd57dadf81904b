package timeline

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/token"
)

// RelationsRequest is a request of /relations. An empty RelType or EventType is not
// asked about.
type RelationsRequest struct {
	Room, EventID      string
	RelType, EventType string
	Backwards          bool
	From, To           string // empty: from the end, and to the other end
	Limit              int
	Recurse            bool
}

// RelationsResponse is an answer of /relations. RecursionDepth is there if the
// client asked for descendants.
type RelationsResponse struct {
	Chunk          []json.RawMessage `json:"chunk"`
	NextBatch      string            `json:"next_batch,omitempty"`
	PrevBatch      string            `json:"prev_batch,omitempty"`
	RecursionDepth *int              `json:"recursion_depth,omitempty"`
}

// maxRelations is the most events that an answer of /relations or /threads has.
const maxRelations = 100

// Relations returns the children of an event in the order of the room. What the
// user may not see is left out, and so is what a redaction took out of the
// relationship; the chunk may be empty and have a next_batch all the same.
//
// https://spec.matrix.org/v1.19/client-server-api/#relationships-api
func (s *Service) Relations(ctx context.Context, v Viewer, req RelationsRequest) (*RelationsResponse, error) {
	if req.Limit < 0 {
		return nil, mxerr.InvalidParam("limit must not be negative.")
	}
	w, err := s.open(ctx, v, req.Room)
	if err != nil {
		return nil, err
	}
	if _, err := w.visible(ctx, req.EventID); err != nil {
		return nil, err
	}
	low, high, err := w.bounds(ctx, &MessagesRequest{Backwards: req.Backwards, From: req.From, To: req.To})
	if err != nil {
		return nil, err
	}
	rows, next, more, err := w.related(ctx, low, high, req)
	if err != nil {
		return nil, err
	}
	resp := &RelationsResponse{PrevBatch: req.From}
	if more {
		resp.NextBatch = token.Position(next)
	}
	if req.Recurse {
		depth := MaxDepth
		resp.RecursionDepth = &depth
	}
	resp.Chunk, err = w.show(ctx, rows, format{prev: true, bundle: true})
	return resp, err
}

// related reads the children in (low, high] that are shown, as page does.
func (w *view) related(ctx context.Context, low, high Pos, req RelationsRequest) (rows []*EventRow, next Pos, more bool, err error) {
	p := paging{low: low, high: high, backwards: req.Backwards, limit: min(req.Limit, maxRelations), filter: new(RoomEventFilter)}
	return w.pages(ctx, p, func(low, high Pos, n int) ([]paged, error) {
		from, to := RelationKey(w.room, req.EventID, low+1), RelationKey(w.room, req.EventID, high)
		found, err := w.s.relations(ctx, w.room, from.Sort, to.Sort, req.Backwards, n)
		if err != nil {
			return nil, err
		}
		events, err := w.loadRelated(ctx, found, req)
		all := make([]paged, len(found))
		for i, r := range found {
			all[i] = paged{r.Pos, events[r.Pos]}
		}
		return all, err
	})
}

// loadRelated returns those of the descendants that are asked for, by position. A
// redaction of one of them, or of what is between, ended the relationship.
func (w *view) loadRelated(ctx context.Context, found []*RelationRow, req RelationsRequest) (map[Pos]*EventRow, error) {
	var at []Pos
	var via []string
	for _, r := range found {
		if r.asked(req) {
			at = append(at, r.Pos)
			for _, b := range r.Via {
				via = append(via, b.ID)
			}
		}
	}
	events, err := w.s.rowsAt(ctx, w.room, at)
	if err != nil || len(via) == 0 {
		return unredacted(events), err
	}
	between, err := w.s.EventsByID(ctx, w.room, via)
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		for _, b := range r.Via {
			if row := between[b.ID]; row == nil || row.Redacted != "" {
				delete(events, r.Pos)
			}
		}
	}
	return unredacted(events), nil
}

// asked reports whether the request asks for such a descendant: each event on the
// way has to match.
func (r *RelationRow) asked(req RelationsRequest) bool {
	if len(r.Via) > 0 && !req.Recurse {
		return false
	}
	matches := func(relType, typ string) bool {
		return (req.RelType == "" || req.RelType == relType) && (req.EventType == "" || req.EventType == typ)
	}
	for _, b := range r.Via {
		if !matches(b.RelType, b.Type) {
			return false
		}
	}
	return matches(r.RelType, r.Type)
}

func unredacted(rows map[Pos]*EventRow) map[Pos]*EventRow {
	for p, r := range rows {
		if r.Redacted != "" {
			delete(rows, p)
		}
	}
	return rows
}

// rowsAt returns the rows at those of the positions that are taken.
func (s *Service) rowsAt(ctx context.Context, room string, at []Pos) (map[Pos]*EventRow, error) {
	seen := make(map[Pos]bool, len(at))
	var refs []store.Ref
	for _, p := range at {
		if !seen[p] {
			seen[p] = true
			refs = append(refs, store.Ref{Table: store.Rooms, Key: EventKey(room, p)})
		}
	}
	rows := make(map[Pos]*EventRow, len(refs))
	if len(refs) == 0 {
		return rows, nil
	}
	found, err := s.rowsOf(ctx, room, refs)
	for _, r := range found {
		rows[r.Pos] = r
	}
	return rows, err
}
