package timeline

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

// Shows is what an operation that shows events of a room to a user uses.
var Shows = grant.Of(Reads, userlog.Reads)

// MessagesRequest is a request of /messages.
type MessagesRequest struct {
	Room      string
	Backwards bool
	From, To  string // empty: from the end, and to the other end
	Limit     int
	Filter    *RoomEventFilter
}

// MessagesResponse is an answer of /messages.
type MessagesResponse struct {
	Start string            `json:"start"`
	End   string            `json:"end,omitempty"`
	Chunk []json.RawMessage `json:"chunk"`
	State []json.RawMessage `json:"state,omitempty"`
}

// MaxMessages is the most events that an answer of /messages has.
const MaxMessages = 1000

// pageBytes bounds the events of a page together: one that has as much is not given
// another, whatever its limit, so that with all that is bundled a page stays below
// what a function returns at once. Events have 64 KB at most.
const pageBytes = 1 << 20

// Messages reads a part of a room's history in either direction. What the user
// may not see is left out; the answer may be empty and have an end all the same.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
func (s *Service) Messages(ctx context.Context, v Viewer, req MessagesRequest) (*MessagesResponse, error) {
	if req.Limit < 0 {
		return nil, mxerr.InvalidParam("limit must not be negative.")
	}
	w, err := s.view(ctx, v, req.Room)
	if err != nil {
		return nil, err
	}
	low, high, err := w.bounds(ctx, &req)
	if err != nil {
		return nil, err
	}
	if req.Backwards && high == end {
		// The end moves; what the client gets is a boundary that stays.
		newest, err := s.Range(ctx, req.Room, low, high, true, 1)
		if err != nil {
			return nil, err
		}
		high = low
		if len(newest) > 0 {
			high = newest[0].Pos
		}
	}
	resp := &MessagesResponse{Start: token.Position(low)}
	if req.Backwards {
		resp.Start = token.Position(high)
	}
	if req.From != "" {
		resp.Start = req.From
	}
	rows, next, more, err := w.page(ctx, low, high, req)
	if err != nil {
		return nil, err
	}
	if more {
		resp.End = token.Position(next)
	}
	if resp.Chunk, err = w.show(ctx, rows, format{prev: true, bundle: true}); err != nil {
		return nil, err
	}
	if req.Filter.LazyLoadMembers && len(rows) > 0 {
		resp.State, err = w.membersOf(ctx, rows)
	}
	return resp, err
}

// bounds are the boundaries between which the request asks for events.
func (w *view) bounds(ctx context.Context, req *MessagesRequest) (low, high Pos, err error) {
	low, high = 0, w.until
	from, to := &low, &high
	if req.Backwards {
		from, to = to, from
	}
	if req.From != "" {
		if *from, err = w.position(ctx, "from", req.From); err != nil {
			return 0, 0, err
		}
	}
	if req.To != "" {
		if *to, err = w.position(ctx, "to", req.To); err != nil {
			return 0, 0, err
		}
	}
	return low, min(high, w.until), nil
}

// page reads the events in (low, high] that are shown, in the direction of the
// request; next is the boundary where it stopped, and more whether there is
// anything beyond.
func (w *view) page(ctx context.Context, low, high Pos, req MessagesRequest) (rows []*EventRow, next Pos, more bool, err error) {
	if !req.Filter.wantsRoom(w.room) {
		next = low
		if req.Backwards {
			next = high
		}
		return nil, next, false, nil
	}
	p := paging{low: low, high: high, backwards: req.Backwards, limit: min(req.Limit, MaxMessages), filter: req.Filter}
	return w.pages(ctx, p, func(low, high Pos, n int) ([]paged, error) {
		found, err := w.s.Range(ctx, w.room, low, high, req.Backwards, n)
		all := make([]paged, len(found))
		for i, r := range found {
			all[i] = paged{r.Pos, r}
		}
		return all, err
	})
}

// paging says what is read of the positions in (low, high], and which way.
type paging struct {
	low, high Pos
	backwards bool
	limit     int
	filter    *RoomEventFilter
}

// paged is a position that a page comes by; its row is nil if it is not asked for.
type paged struct {
	pos Pos
	row *EventRow
}

// pages collects what is shown of what read finds, until it has enough, has looked at
// too much, or comes to the end. read returns the first n there are in (low, high],
// in the direction of the page.
func (w *view) pages(ctx context.Context, p paging, read func(low, high Pos, n int) ([]paged, error)) (rows []*EventRow, next Pos, more bool, err error) {
	next = p.low
	if p.backwards {
		next = p.high
	}
	n, size := min(p.limit+1, scanPage), 0
	for scanned := 0; scanned < maxScan; n = scanPage {
		if p.low >= p.high {
			return rows, next, false, nil
		}
		found, err := read(p.low, p.high, n)
		if err != nil {
			return nil, 0, false, err
		}
		for _, f := range found {
			if len(rows) == p.limit || size >= pageBytes {
				return rows, next, true, nil
			}
			if f.row != nil {
				ok, err := w.shows(ctx, f.row, p.filter)
				if err != nil {
					return nil, 0, false, err
				}
				if ok {
					rows = append(rows, f.row)
					size += len(f.row.JSON)
				}
			}
			if scanned++; p.backwards {
				next, p.high = f.pos-1, f.pos-1
			} else {
				next, p.low = f.pos, f.pos
			}
		}
		if len(found) < n {
			return rows, next, false, nil
		}
	}
	return rows, next, true, nil
}

// membersOf returns the membership events of those who sent the rows, in the
// state at the first of them.
func (w *view) membersOf(ctx context.Context, rows []*EventRow) ([]json.RawMessage, error) {
	users, err := senders(rows)
	if err != nil {
		return nil, err
	}
	members, err := w.s.StateEvents(ctx, w.room, rows[0].CurrentRoot(), memberKeys(users...)...)
	if err != nil {
		return nil, err
	}
	return w.show(ctx, members, format{})
}
