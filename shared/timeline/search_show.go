package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

const (
	// maxPredecessors is how many rooms back a search follows upgrades.
	maxPredecessors = 10
	// maxNamed is how many rooms a filter may name until reading all that the user is
	// in is cheaper than reading whether the user is in each.
	maxNamed = 50
)

// searchedRooms are the rooms that the search is about, by their ids. A filter that
// names a room means also those that it replaces.
func (q *search) searchedRooms(ctx context.Context) ([]*view, error) {
	var rooms []*view
	enter := func(c userlog.Cursor) bool {
		w := &view{s: q.s, Viewer: q.Viewer, room: c.Room, cursor: c, until: end, ignores: q.ignores}
		in := w.enter()
		if in && !slices.Contains(q.req.Filter.NotRooms, c.Room) {
			rooms = append(rooms, w)
		}
		return in
	}
	named := q.req.Filter.Rooms
	if q.from.Scope == "room_id" {
		named = []string{q.from.Group}
	}
	if named == nil {
		cursors, err := q.s.Log.Cursors(ctx, q.User)
		for _, c := range cursors {
			enter(c)
		}
		slices.SortFunc(rooms, func(a, b *view) int { return cmp.Compare(a.room, b.room) })
		return rooms, err
	}
	cursor := func(ctx context.Context, room string) (userlog.Cursor, error) {
		return q.s.Log.Cursor(ctx, q.User, room)
	}
	if len(named) > maxNamed {
		all, err := q.s.Log.Cursors(ctx, q.User)
		if err != nil {
			return nil, err
		}
		byRoom := make(map[string]userlog.Cursor, len(all))
		for _, c := range all {
			byRoom[c.Room] = c
		}
		cursor = func(_ context.Context, room string) (userlog.Cursor, error) { return byRoom[room], nil }
	}
	seen := map[string]bool{}
	for range maxPredecessors + 1 {
		named = slices.DeleteFunc(slices.Clone(named), func(room string) bool {
			was := seen[room]
			seen[room] = true
			return was || !id.ValidRoom(room)
		})
		before := make([]string, len(named))
		var mu sync.Mutex
		err := parallel(ctx, indexes(named), func(ctx context.Context, i int) error {
			c, err := cursor(ctx, named[i])
			if err != nil {
				return err
			}
			mu.Lock()
			in := enter(c)
			mu.Unlock()
			if in && q.from.Scope != "room_id" {
				before[i], err = q.s.predecessor(ctx, named[i])
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if named = slices.DeleteFunc(before, func(room string) bool { return room == "" }); len(named) == 0 {
			break
		}
	}
	slices.SortFunc(rooms, func(a, b *view) int { return cmp.Compare(a.room, b.room) })
	return rooms, nil
}

// predecessor is the room that a room says it replaces, or "".
func (s *Service) predecessor(ctx context.Context, room string) (string, error) {
	head, err := s.Head(ctx, room)
	if err != nil {
		return "", err
	}
	rows, err := s.StateEvents(ctx, room, head.CurrentRoot(), auth.Key{Type: "m.room.create"})
	if err != nil || len(rows) == 0 {
		return "", err
	}
	e, err := rows[0].Event()
	if err != nil {
		return "", err
	}
	before, _ := canonicaljson.String(canonicaljson.Get(e.Content, "predecessor", "room_id"))
	return before, nil
}

// show adds the results as the user sees them.
func (q *search) show(ctx context.Context, resp *SearchResponse, hits []*hit) error {
	resp.Results = make([]SearchResult, len(hits))
	byRoom := map[*findable][]int{}
	var rooms []*findable
	for i, h := range hits {
		resp.Results[i].Rank = float64(h.rank()) / 1e6
		if byRoom[h.room] == nil {
			rooms = append(rooms, h.room)
		}
		byRoom[h.room] = append(byRoom[h.room], i)
	}
	states := make([][]json.RawMessage, len(rooms))
	err := parallel(ctx, indexes(rooms), func(ctx context.Context, n int) error {
		w, rows := rooms[n].w, []*EventRow{}
		for _, i := range byRoom[rooms[n]] {
			rows = append(rows, hits[i].row)
		}
		shown, err := w.show(ctx, rows, format{prev: true, bundle: true})
		if err != nil {
			return err
		}
		for j, i := range byRoom[rooms[n]] {
			resp.Results[i].Result = shown[j]
		}
		if !q.req.State {
			return nil
		}
		root, err := w.state(ctx)
		if err != nil {
			return err
		}
		states[n], err = w.stateOfPage(ctx, root, rows, &RoomEventFilter{LazyLoadMembers: q.req.Filter.LazyLoadMembers})
		return err
	})
	if err != nil {
		return err
	}
	if q.req.State {
		resp.State = map[string][]json.RawMessage{}
		for n, r := range rooms {
			resp.State[r.w.room] = states[n]
		}
	}
	if q.req.Around == nil {
		return nil
	}
	return parallel(ctx, indexes(hits), func(ctx context.Context, i int) (err error) {
		resp.Results[i].Context, err = hits[i].room.w.around(ctx, hits[i].row, *q.req.Around)
		return err
	})
}

// around is what happened around an event, whatever the filter wants.
func (w *view) around(ctx context.Context, row *EventRow, a Around) (*SearchContext, error) {
	all := new(RoomEventFilter)
	before, start, _, err := w.page(ctx, 0, row.Pos-1, MessagesRequest{Backwards: true, Limit: min(a.Before, MaxAround), Filter: all})
	if err != nil {
		return nil, err
	}
	after, stop, _, err := w.page(ctx, row.Pos, w.until, MessagesRequest{Limit: min(a.After, MaxAround), Filter: all})
	if err != nil {
		return nil, err
	}
	shown, err := w.show(ctx, slices.Concat(before, after), format{prev: true, bundle: true})
	if err != nil {
		return nil, err
	}
	c := &SearchContext{
		Start: token.Position(start), End: token.Position(stop), Before: shown[:len(before)], After: shown[len(before):],
	}
	if !a.Profiles {
		return c, nil
	}
	rows := slices.Concat(before, []*EventRow{row}, after)
	users, err := senders(rows)
	if err != nil {
		return nil, err
	}
	members, err := w.s.StateEvents(ctx, w.room, rows[len(rows)-1].CurrentRoot(), memberKeys(users...)...)
	if err != nil {
		return nil, err
	}
	c.Profiles = map[string]nameCard{}
	for _, r := range members {
		m, err := r.Member()
		if err != nil {
			return nil, err
		}
		c.Profiles[m.StateKey] = nameCard{m.DisplayName, m.AvatarURL}
	}
	return c, nil
}
