package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// Members returns the members with a membership of a room that stands at head,
// local or remote ones or (where "") both. They come from the room's rows, which
// may be ahead of head, or while those are being moved from the state itself.
func (s *Service) Members(ctx context.Context, room string, head *Head, where, membership string) ([]StateRow, error) {
	if !head.RowsCurrent() {
		return s.membersOfState(ctx, room, head.CurrentRoot(), where, membership)
	}
	wheres := []string{where}
	if where == "" {
		wheres = []string{Local, Remote}
	}
	var members []StateRow
	for _, w := range wheres {
		rows, err := s.stateRows(ctx, room, memberPre+w+"#"+membership+"#", 0)
		if err != nil {
			return nil, err
		}
		members = append(members, rows...)
	}
	return members, nil
}

// stateOf names the state of a room at a time.
type stateOf struct {
	room    string
	version int64
}

// crowd is how many members a room has for it to be worth while to remember them:
// their rows are more than the HEAD that has to be read again.
const crowd = 30

// LocalMembers returns the local users who are in a room that stands at head. The
// list is not to be changed: in a large room it is read once for each state.
func (s *Service) LocalMembers(ctx context.Context, room string, head *Head) ([]StateRow, error) {
	key := stateOf{room, head.StateVer}
	if list, ok := s.crowds.get(key); ok {
		return list, grant.Check(ctx, grant.Table, store.Rooms.Name, grant.Read) // as those who read it
	}
	list, err := s.Members(ctx, room, head, Local, "join")
	if err != nil || len(list) < crowd {
		return list, err
	}
	// The rows may be ahead of head. They are not if nobody has moved on meanwhile.
	now, err := s.Head(ctx, room)
	if err != nil {
		return nil, err
	}
	if now.StateVer == head.StateVer {
		size := 0
		for _, m := range list {
			size += len(m.StateKey) + len(m.DisplayName) + len(m.AvatarURL) + len(m.ID) + 150
		}
		s.crowds.put(key, list, size)
	}
	return list, nil
}

// membersOfState reads the members from a state, which costs a read for each.
func (s *Service) membersOfState(ctx context.Context, room string, r trie.Root, where, membership string) ([]StateRow, error) {
	var ids []string
	err := trie.Walk(ctx, s.Loader(room), room, r, trie.WalkMembers, func(e trie.Entry) bool {
		if where == "" || (id.Server(e.StateKey) == s.ServerName) == (where == Local) {
			ids = append(ids, e.EventID)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("walk state of %s: %w", room, err)
	}
	rows, err := s.stateEventsByID(ctx, room, ids)
	if err != nil {
		return nil, err
	}
	var members []StateRow
	for _, r := range rows {
		m, err := r.Member()
		if err != nil {
			return nil, err
		}
		if m.Membership == membership {
			members = append(members, m)
		}
	}
	return members, nil
}

// Member is the row of a membership event among the current members.
func (r *EventRow) Member() (StateRow, error) {
	e, err := r.Visible()
	if err != nil {
		return StateRow{}, err
	}
	m := StateRow{Type: typeMember, StateKey: *e.StateKey, ID: r.ID, Pos: r.Pos}
	// Events of other servers may hold anything here; what is no string is not
	// shown.
	for field, to := range map[string]*string{"membership": &m.Membership, "displayname": &m.DisplayName, "avatar_url": &m.AvatarURL} {
		*to, _ = canonicaljson.String(canonicaljson.Get(e.Content, field))
	}
	return m, nil
}

// stateRows reads rows of the current state under a prefix, at most limit of them.
func (s *Service) stateRows(ctx context.Context, room, prefix string, limit int) ([]StateRow, error) {
	var rows []StateRow
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Limit: limit, Consistency: store.Consistent}.Prefix(prefix)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read members of %s: %w", room, err)
		}
		r, err := decodeState(it)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// SpilledExtremities returns the forward extremities that HEAD has no room for.
func (s *Service) SpilledExtremities(ctx context.Context, room string) ([]Extremity, error) {
	var exts []Extremity
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Consistency: store.Consistent}.Prefix(spillPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read extremities of %s: %w", room, err)
		}
		x := Extremity{ID: it.Key.Sort[len(spillPre):]}
		if err := store.Decode(it, &x); err != nil {
			return nil, err
		}
		exts = append(exts, x)
	}
	return exts, nil
}

// ServerJoined reports whether a server has a joined member in a room that stands
// at head.
func (s *Service) ServerJoined(ctx context.Context, room string, head *Head, server string) (bool, error) {
	if !head.RowsCurrent() {
		members, err := s.membersOfState(ctx, room, head.CurrentRoot(), "", "join")
		return slices.ContainsFunc(members, func(m StateRow) bool { return id.Server(m.StateKey) == server }), err
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: ServerKey(room, server)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return it.Int("n") > 0, err
}

// Gaps returns the gaps of a room, by the key of their row.
func (s *Service) Gaps(ctx context.Context, room string) (map[store.Key]GapRow, error) {
	gaps := map[store.Key]GapRow{}
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Consistency: store.Consistent}.Prefix(gapPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read gaps of %s: %w", room, err)
		}
		var g GapRow
		if err := store.Decode(it, &g); err != nil {
			return nil, err
		}
		gaps[it.Key] = g
	}
	return gaps, nil
}
