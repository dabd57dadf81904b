package rooms

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// maxRows is how many changes of state have their rows in the transaction of an
// event. A transaction holds a hundred writes; a change of membership is up to
// four.
const maxRows = 20

func (s *Service) where(user string) string {
	if s.isLocal(user) {
		return timeline.Local
	}
	return timeline.Remote
}

// finish adds what follows from the current state of before and after the batch:
// the rows that show it, and the cursors of local users whose membership changed.
// A change that is too large is left to MoveRows.
func (b *batch) finish(ctx context.Context) error {
	from, to := b.was.CurrentRoot(), b.head.CurrentRoot()
	if from == to {
		return nil
	}
	changes, err := trie.Diff(ctx, b.loader(), b.room, from, to)
	if err != nil {
		return fmt.Errorf("compare states of %s: %w", b.room, err)
	}
	if len(changes) > maxRows {
		return nil
	}
	moved, err := b.details(ctx, changes)
	if err != nil {
		return err
	}
	for _, c := range moved {
		if err := b.tellMember(ctx, c); err != nil {
			return err
		}
	}
	if !b.was.RowsCurrent() {
		return nil
	}
	b.head.RowsRoot = to[:]
	for _, c := range moved {
		b.showState(c)
	}
	return nil
}

// stateChange is a piece of state that changed, with what the rows show of it.
type stateChange struct {
	trie.Change
	// was and is are the memberships, where the piece is a member; is is "leave" if
	// the state has no event of the user any more.
	was, is string
	row     timeline.StateRow
	sender  string // of the new event
}

// details reads what changes of state are about.
func (b *batch) details(ctx context.Context, changes []trie.Change) ([]stateChange, error) {
	var olds, news []string
	for _, c := range changes {
		if c.New != "" && b.events[c.New] == nil {
			news = append(news, c.New)
		}
		if c.Old != "" && c.Type == typeMember {
			olds = append(olds, c.Old)
		}
	}
	before, err := b.viewsOf(ctx, olds)
	if err != nil {
		return nil, err
	}
	rows := map[string]*timeline.EventRow{}
	if len(news) > 0 {
		if rows, err = b.s.Timeline.KnownEvents(ctx, b.room, news); err != nil {
			return nil, err
		}
	}
	list := make([]stateChange, len(changes))
	for i, c := range changes {
		d := stateChange{Change: c, row: timeline.StateRow{ID: c.New}}
		if v := before[c.Old]; v != nil {
			d.was = v.Content.Membership
		}
		row := rows[c.New]
		if e := b.events[c.New]; e != nil {
			row = &timeline.EventRow{ID: e.ID, Pos: b.placed[e.ID], JSON: e.JSON(), RoomVersion: b.v.ID}
		}
		switch {
		case c.New == "" && c.Type == typeMember:
			d.is = "leave"
		case c.New == "":
		case row == nil:
			return nil, fmt.Errorf("state of %s names the unknown event %s", b.room, c.New)
		case c.Type == typeMember:
			if d.row, err = row.Member(); err != nil {
				return nil, err
			}
			d.is = d.row.Membership
			fallthrough
		default:
			e, err := row.Event()
			if err != nil {
				return nil, err
			}
			d.row.Pos, d.sender = row.Pos, e.Sender
		}
		list[i] = d
	}
	return list, nil
}

// showState adds the rows of the current state for one change.
func (b *batch) showState(c stateChange) {
	for k, w := range b.s.stateRows(b.room, c) {
		b.rows[k] = w
	}
	if c.Type != typeMember {
		return
	}
	if c.is == "join" && c.was != "join" {
		b.servers[id.Server(c.StateKey)]++
	}
	if c.is != "join" && c.was == "join" {
		b.servers[id.Server(c.StateKey)]--
	}
}

// stateRows are the writes that show one change, but for the counts of servers.
// They may be repeated.
func (s *Service) stateRows(room string, c stateChange) map[store.Key]store.Write {
	ws := map[store.Key]store.Write{}
	put := func(k store.Key) { ws[k] = store.Put(store.Rooms, k, store.Encode(c.row)) }
	if c.Type != typeMember {
		k := timeline.StateKey(room, c.Type, c.StateKey)
		if put(k); c.New == "" {
			ws[k] = store.Delete(store.Rooms, k)
		}
		return ws
	}
	where := s.where(c.StateKey)
	if c.was != "" && (c.was != c.is || c.New == "") {
		k := timeline.MemberKey(room, where, c.was, c.StateKey)
		ws[k] = store.Delete(store.Rooms, k)
	}
	if c.New != "" {
		put(timeline.MemberKey(room, where, c.is, c.StateKey))
	}
	return ws
}

// tellMember records a change of a local user's own membership in the user's
// cursor.
func (b *batch) tellMember(ctx context.Context, c stateChange) error {
	if c.Type != typeMember || c.was == c.is || !b.s.isLocal(c.StateKey) {
		return nil
	}
	cursor, err := b.s.Log.Cursor(ctx, c.StateKey, b.room)
	if err != nil {
		return err
	}
	t := b.transition(c)
	b.cursors[c.StateKey] = userlog.MembershipChanged(c.StateKey, cursor, t)
	b.concerns[c.StateKey] = t.Pos
	return nil
}

// transition is a change of membership as the cursor keeps it. A membership that
// the state lost without an event has a name that is no event id.
func (b *batch) transition(c stateChange) userlog.Transition {
	t := userlog.Transition{Pos: b.head.Pos, Membership: c.is, EventID: c.New, Sender: c.sender}
	if p, ok := b.placed[c.New]; ok {
		t.Pos = p
	}
	if c.New == "" {
		t.EventID = "reset " + t.Pos.String()
	}
	return t
}
