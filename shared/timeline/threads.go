package timeline

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

// ThreadsRequest is a request of /threads.
type ThreadsRequest struct {
	Room         string
	Participated bool // only threads that the user takes part in
	Limit        int
	From         string // empty: from the most recent one
}

// ThreadsResponse is an answer of /threads.
type ThreadsResponse struct {
	Chunk     []json.RawMessage `json:"chunk"`
	NextBatch string            `json:"next_batch,omitempty"`
}

const (
	// maxThreads bounds how many threads a request looks at for those that it asks
	// for. What is said of each costs a few reads.
	maxThreads  = 200
	threadsPage = 50
)

// Threads returns the roots of a room's threads, those with the most recent latest
// event first. The order is that of the room: whoever left it, or ignores who wrote
// last, is told of another latest event. The chunk may be empty and have a
// next_batch all the same.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
func (s *Service) Threads(ctx context.Context, v Viewer, req ThreadsRequest) (*ThreadsResponse, error) {
	if req.Limit <= 0 {
		return nil, mxerr.InvalidParam("limit must be greater than zero.")
	}
	w, err := s.view(ctx, v, req.Room)
	if err != nil {
		return nil, err
	}
	high := end
	if req.From != "" {
		if high, err = w.position(ctx, "from", req.From); err != nil {
			return nil, err
		}
	}
	resp := &ThreadsResponse{Chunk: []json.RawMessage{}}
	limit := min(req.Limit, maxRelations)
	n, size := limit+1, 0
	for scanned := 0; scanned < maxThreads; n = threadsPage {
		q := store.Query{
			Table: store.Rooms, Part: RoomPart(req.Room), From: activityPre, To: ActivityKey(req.Room, high).Sort,
			Reverse: true, Limit: n, Consistency: store.Consistent,
		}
		page, err := s.DB.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("read threads of %s: %w", req.Room, err)
		}
		roots := make([]string, len(page.Items))
		for i, it := range page.Items {
			roots[i] = it.Str("root")
		}
		shown, err := w.threads(ctx, roots, req.Participated)
		if err != nil {
			return nil, err
		}
		for i, it := range page.Items {
			if len(resp.Chunk) == limit || size >= pageBytes {
				resp.NextBatch = token.Position(high)
				return resp, nil
			}
			if root := shown[roots[i]]; root != nil {
				resp.Chunk = append(resp.Chunk, root)
				size += len(root)
			}
			latest, err := userlog.ParsePos(it.Key.Sort[len(activityPre):])
			if err != nil {
				return nil, err
			}
			high, scanned = latest-1, scanned+1
		}
		if page.Next == "" || len(page.Items) == 0 {
			return resp, nil
		}
	}
	resp.NextBatch = token.Position(high)
	return resp, nil
}

// threads returns those of the roots, as they are shown, whose threads the user
// sees. A root of somebody whom the user ignores has no content.
func (w *view) threads(ctx context.Context, roots []string, participated bool) (map[string]json.RawMessage, error) {
	rows, err := w.s.EventsByID(ctx, w.room, roots)
	if err != nil {
		return nil, err
	}
	var seen []*EventRow
	for _, eventID := range roots {
		r := rows[eventID]
		if r == nil || !r.Threaded {
			continue // it is not here, or no root
		}
		if ok, err := w.sees(ctx, r); err != nil {
			return nil, err
		} else if ok {
			seen = append(seen, r)
		}
	}
	bundles, err := w.bundles(ctx, seen, format{bundle: true})
	if err != nil {
		return nil, err
	}
	var wanted []*EventRow
	for _, r := range seen {
		b := bundles[r.ID]
		if b == nil || b.Thread == nil || participated && !b.Thread.Participated {
			continue
		}
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		if ignored, err := w.ignores.has(ctx, e.Sender); err != nil {
			return nil, err
		} else if ignored && e.Sender != w.User {
			pruned := *r
			pruned.Redacted, pruned.RedactedAt = hidden, 0
			r, b.Replace = &pruned, nil
		}
		wanted = append(wanted, r)
	}
	events, err := w.show(ctx, wanted, format{prev: true, bundles: bundles})
	if err != nil {
		return nil, err
	}
	shown := make(map[string]json.RawMessage, len(wanted))
	for i, r := range wanted {
		shown[r.ID] = events[i]
	}
	return shown, nil
}

// hidden is in place of the redaction of an event that is only shown as if it were
// redacted.
const hidden = "hidden"
