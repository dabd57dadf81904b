package timeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// stretch is a timeline: what of the positions in (from, to] is shown.
type stretch struct {
	rows []*EventRow // oldest first
	// limited says that there are more between from and the first of rows.
	limited bool
	// before is the boundary just before the first of rows.
	before Pos
	// start and end are the states before the first of rows and at the end.
	start, end trie.Root
	// from is the state at from, if the walk came there.
	from *trie.Root
	// beyond, if not nil, is the user's own membership event after the end, by which
	// somebody who is not in the room learns that an invite is over or of a ban.
	beyond *EventRow
}

const (
	// maxScan bounds how many positions a request looks at in a room when its
	// filter matches little, and maxUnseen how many in a row that the user may
	// not see.
	maxScan   = 1000
	maxUnseen = 100
	scanPage  = 100
)

// walk returns the newest positions of (from, to] that the user sees and the
// filter wants, up to the filter's limit. It ends at a gap of the room: what is
// before it has to be fetched first, which /messages does.
func (w *view) walk(ctx context.Context, from, to Pos, f *RoomEventFilter) (*stretch, error) {
	st := &stretch{before: to}
	if !f.wantsRoom(w.room) {
		root, err := w.s.RootAt(ctx, w.room, to)
		st.start, st.end = root, root
		return st, err
	}
	limit := f.limit()
	var scanned, unseen int
	startKnown := true // whether start is the state before the first of rows
	forked := false    // whether states were resolved at a position after from
	n := min(limit+2, scanPage)
	for high := to; ; n = scanPage {
		// The row at from is read too: it has the state that the client knows.
		rows, err := w.s.Range(ctx, w.room, max(from, 1)-1, high, true, n)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if scanned == 0 {
				st.start, st.end = r.CurrentRoot(), r.CurrentRoot()
			}
			if r.Pos > from && (!live(r.Pos) || segment(r.Pos) != segment(to)) {
				if !startKnown {
					if st.start, err = w.s.RootAt(ctx, w.room, segment(to)-1); err != nil {
						return nil, err
					}
				}
				st.limited = true
				return st.turned(), nil
			}
			if !startKnown {
				st.start, startKnown = r.CurrentRoot(), true
			}
			if r.Pos <= from {
				root := r.CurrentRoot()
				st.from = &root
				return st.turned(), nil
			}
			scanned++
			forked = forked || r.Forked
			seen, err := w.sees(ctx, r)
			if err != nil {
				return nil, err
			}
			if !seen {
				// State that changed where the user cannot see it is told as the state
				// before the timeline, so the timeline has to begin after it.
				if unseen++; len(st.rows) > 0 && r.changesState() {
					st.start, st.limited = r.CurrentRoot(), true
					return st.turned(), nil
				}
				continue
			}
			wanted, err := w.wants(ctx, r, f)
			switch {
			case err != nil:
				return nil, err
			case !wanted:
			case len(st.rows) == limit:
				st.limited = true
				return st.turned(), nil
			case forked && w.appliesTimeline:
				lost, err := w.lost(ctx, st, r)
				if err != nil {
					return nil, err
				}
				if lost {
					st.start, st.limited = r.CurrentRoot(), true
					return st.turned(), nil
				}
				fallthrough
			default:
				st.rows, st.before, startKnown, unseen = append(st.rows, r), r.Pos-1, false, 0
			}
		}
		if len(rows) < n {
			if !startKnown {
				st.start, err = w.s.RootAt(ctx, w.room, from)
			}
			return st.turned(), err
		}
		high = rows[len(rows)-1].Pos - 1
		if scanned >= maxScan || unseen >= maxUnseen {
			st.limited = true
			if !startKnown {
				st.start, err = w.s.RootAt(ctx, w.room, high)
			}
			return st.turned(), err
		}
	}
}

// lost reports whether a state event is not in the state at the end of the
// timeline, nor followed in it by another of its key. A client that takes the
// state from the timeline would take this one for it. So its timeline begins after
// the event, which can still be read before it.
func (w *view) lost(ctx context.Context, st *stretch, r *EventRow) (bool, error) {
	e, err := r.Event()
	if err != nil || !e.IsState() {
		return false, err
	}
	key := auth.Key{Type: e.Type, StateKey: *e.StateKey}
	for _, later := range st.rows {
		l, err := later.Event()
		if err != nil {
			return false, err
		}
		if l.Is(key.Type, key.StateKey) {
			return false, nil
		}
	}
	ids, err := w.s.StateIDs(ctx, w.room, st.end, []auth.Key{key})
	return ids[key] != r.ID, err
}

// turned puts the rows, found newest first, in their order.
func (st *stretch) turned() *stretch { slices.Reverse(st.rows); return st }

// shows reports whether the user sees an event and the filter wants it.
func (w *view) shows(ctx context.Context, r *EventRow, f *RoomEventFilter) (bool, error) {
	if ok, err := w.sees(ctx, r); err != nil || !ok {
		return false, err
	}
	return w.wants(ctx, r, f)
}

// wants reports whether the user wants to see an event: the filter does, and it
// is no message of somebody whom the user ignores.
func (w *view) wants(ctx context.Context, r *EventRow, f *RoomEventFilter) (bool, error) {
	e, err := r.Visible()
	if err != nil || e.Type == TypeDummy || !f.wantsEvent(e) {
		return false, err
	}
	if e.IsState() || e.Sender == w.User {
		return true, nil
	}
	ignored, err := w.ignores.has(ctx, e.Sender)
	return !ignored, err
}

// TypeDummy is the type of events that only join forks of a room. Clients do not see
// them. It is the one that other servers use.
const TypeDummy = "org.matrix.dummy_event"

// changesState reports whether the state is another after the position.
func (r *EventRow) changesState() bool {
	if r.Kind == KindState {
		return true
	}
	e, err := r.Event()
	return err == nil && e.IsState()
}

// senders returns who sent the events, each once.
func senders(rows []*EventRow) ([]string, error) {
	var users []string
	for _, r := range rows {
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(users, e.Sender) {
			users = append(users, e.Sender)
		}
	}
	return users, nil
}

// stateIDs is a set of pieces of state, by key.
type stateIDs map[trie.Key]string

// known is what a client knows of a room's state before an answer.
type known struct {
	// nothing says that it needs all of the state.
	nothing bool
	// root is the state that it knows. A client that needs all and loads members
	// lazily still has to be told which members have changed since.
	root trie.Root
}

// stateFor returns what a client has to be told of a room's state beside a
// timeline: the state before the timeline or, with after, at its end. changed is
// the state that differs at the end from what the client knew.
func (w *view) stateFor(ctx context.Context, st *stretch, k known, after bool, f *RoomEventFilter) (ids, changed stateIDs, err error) {
	target := st.start
	if after {
		target = st.end
	}
	if !k.nothing {
		ids, err = w.difference(ctx, k.root, target)
	} else if ids, err = w.fullState(ctx, target, f.LazyLoadMembers); err == nil && !k.root.IsZero() {
		var stale stateIDs
		stale, err = w.difference(ctx, k.root, target)
		maps.Copy(ids, stale)
	}
	if err != nil {
		return nil, nil, err
	}
	changed = maps.Clone(ids)
	if !after {
		// Between start and end the client follows the timeline. What changes
		// without being in it, because a filter holds it back or because no event
		// changed it, is told in advance.
		moved, err := w.difference(ctx, st.start, st.end)
		if err != nil {
			return nil, nil, err
		}
		for key, id := range moved {
			changed[key] = id
			if !slices.ContainsFunc(st.rows, func(r *EventRow) bool { return r.ID == id }) {
				ids[key] = id
			}
		}
	}
	return ids, changed, nil
}

// fullState is all of a state, without members for a lazy client.
func (w *view) fullState(ctx context.Context, r trie.Root, lazy bool) (stateIDs, error) {
	ids, what := stateIDs{}, trie.WalkAll
	if lazy {
		what = trie.WalkNonMembers
	}
	err := trie.Walk(ctx, w.s.Loader(w.room), w.room, r, what, func(e trie.Entry) bool {
		ids[e.Key] = e.EventID
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("walk state of %s: %w", w.room, err)
	}
	return ids, nil
}

// difference is what b has that a has not. What a has and b has not cannot be
// told to a client of /sync.
func (w *view) difference(ctx context.Context, a, b trie.Root) (stateIDs, error) {
	ids := stateIDs{}
	if a == b {
		return ids, nil
	}
	changes, err := trie.Diff(ctx, w.s.Loader(w.room), w.room, a, b)
	if err != nil {
		return nil, fmt.Errorf("compare states of %s: %w", w.room, err)
	}
	for _, c := range changes {
		if c.New != "" {
			ids[c.Key] = c.New
		}
	}
	return ids, nil
}

// events loads the pieces of state that the filter wants, in their order.
func (w *view) events(ctx context.Context, ids stateIDs, f *RoomEventFilter) ([]*EventRow, error) {
	var want []string
	if f.wantsRoom(w.room) {
		for key, id := range ids {
			if f.wantsType(key.Type) {
				want = append(want, id)
			}
		}
	}
	rows, err := w.s.stateEventsByID(ctx, w.room, want)
	if err != nil {
		return nil, err
	}
	wanted := make([]*EventRow, 0, len(rows))
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		if f.wantsEvent(e) {
			wanted = append(wanted, r)
		}
	}
	sortRows(wanted)
	return wanted, nil
}

func sortRows(rows []*EventRow) {
	slices.SortFunc(rows, func(a, b *EventRow) int { return cmp.Compare(a.Pos, b.Pos) })
}

// stripped is the state that shows a room to somebody who is not in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
var stripped = []auth.Key{
	{Type: "m.room.create"}, {Type: "m.room.join_rules"}, {Type: "m.room.name"}, {Type: "m.room.avatar"},
	{Type: "m.room.topic"}, {Type: "m.room.canonical_alias"}, {Type: "m.room.encryption"},
}
