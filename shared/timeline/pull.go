package timeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Fan is how far what happens in a room was brought to its members, and how: the
// row FAN#room / FAN of the server table, at most 1 KB, which fan-out writes. If
// it is lost or rolled back, members are told again, which does nothing, and a
// pulled room is one of pushed entries until it is found to be large again.
//
// In a pulled room, one with very many active members, nobody writes to their
// logs. Each user's LOG row lists the pulled rooms that the user is in, and each
// look of a device reads their HEADs and adds to the log what is missing. That
// no position is lost rests on this:
//
//   - Once Done is at a position of a pulled room, the lists of all who were
//     members there have the room. Going to pulled first writes StateGoing, then
//     adds the room to the lists of all members, then writes StatePulled if Times
//     is still the same; until then entries are written. From StateGoing on, fan-out adds the room to the
//     list of whoever joins, before Done moves to the join.
//   - Fan-out reads HEAD before it reads State, so whatever it left to the
//     members because of StatePulled is not beyond the HEAD of a time at which
//     the room was pulled.
//   - A room is taken off a list only by its user, in this order: read the list,
//     read that the room is neither going nor pulled (or that the user is not in
//     it), read HEAD and catch up, write the list on the condition that nothing
//     was added meanwhile. So what was left to the members is told, and if the
//     room is pulled again, or joined again, it is added after all or found out.
type Fan struct {
	Done Pos `db:"done"`
	// Root is the current state at Done.
	Root  []byte   `db:"root,omitempty"`
	State FanState `db:"st,omitempty"`
	// Times counts how often the room began to be pulled.
	Times int64 `db:"g,omitempty"`
	// Counted is when the active members of a pulled room were last counted, in
	// milliseconds.
	Counted int64 `db:"ct,omitempty"`
	// Indexed is about the last position whose words are indexed, so that nobody has
	// to look at the WordIndex with each message.
	Indexed Pos `db:"ix,omitempty"`
}

// FanState says how members learn what happens in a room.
type FanState string

// The states.
const (
	StatePushed FanState = ""
	StateGoing  FanState = "g"
	StatePulled FanState = "p"
)

const fanPre = "FAN#"

// FanKey is the key of a room's Fan in the server table.
func FanKey(room string) store.Key { return store.Key{Part: fanPre + room, Sort: "FAN"} }

// FanOf reads a Fan.
func FanOf(it store.Item) (room string, f Fan, err error) {
	return strings.TrimPrefix(it.Key.Part, fanPre), f, store.Decode(it, &f)
}

// pull adds to the log what happened in the user's pulled rooms, and reports
// whether it did. h and entries are what was read of the log. With tidy it also
// takes rooms off the list that do not belong there any more.
func (s *Service) pull(ctx context.Context, user string, h userlog.Head, tidy bool) (added bool, err error) {
	if len(h.Pulled) == 0 {
		return false, nil
	}
	var pushed map[string]bool
	if tidy {
		if pushed, err = s.pushed(ctx, h.Pulled); err != nil {
			return false, err
		}
	}
	heads, cursors, err := s.standing(ctx, user, h.Pulled)
	if err != nil {
		return false, err
	}
	var joined []userlog.Cursor
	var drop []string
	for _, room := range h.Pulled {
		c, in := cursors[room], cursors[room].Membership == "join"
		if in {
			joined = append(joined, c)
		}
		if tidy && (!in || pushed[room]) {
			drop = append(drop, room)
		}
	}
	// A cursor whose entry was seen has it for good.
	unseen := slices.DeleteFunc(slices.Clone(joined), func(c userlog.Cursor) bool {
		_, ok := s.written.get(written{user, c.Room, c.N})
		return ok
	})
	behind, err := s.Log.Behind(ctx, user, h, unseen)
	if err != nil {
		return false, err
	}
	for _, c := range unseen {
		if c.N != 0 && !behind[c.Room] {
			s.written.put(written{user, c.Room, c.N}, struct{}{}, len(user)+len(c.Room)+100)
		}
	}
	err = parallel(ctx, joined, func(ctx context.Context, c userlog.Cursor) error {
		if heads[c.Room] <= c.To && !behind[c.Room] {
			return nil
		}
		return s.Log.CatchUp(ctx, user, c.Room, heads[c.Room], s.Unread(c.Room))
	})
	if err != nil {
		return false, err
	}
	added = slices.ContainsFunc(joined, func(c userlog.Cursor) bool { return heads[c.Room] > c.To || behind[c.Room] })
	if len(drop) > 0 {
		err = s.Log.Unpull(ctx, user, h, drop)
	}
	return added, err
}

// written is a user's last entry of a room that is known to be in the log.
type written struct {
	user, room string
	n          int64
}

// pushed returns those of the rooms that are not pulled.
func (s *Service) pushed(ctx context.Context, rooms []string) (map[string]bool, error) {
	refs := make([]store.Ref, len(rooms))
	pushed := make(map[string]bool, len(rooms))
	for i, room := range rooms {
		refs[i], pushed[room] = store.Ref{Table: store.Server, Key: FanKey(room)}, true
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read what is pulled: %w", err)
	}
	for _, it := range items {
		room, f, err := FanOf(it)
		if err != nil {
			return nil, err
		}
		pushed[room] = f.State == StatePushed
	}
	return pushed, nil
}

// standing reads where rooms stand, and how far the user was told of them.
func (s *Service) standing(ctx context.Context, user string, rooms []string) (map[string]Pos, map[string]userlog.Cursor, error) {
	refs := make([]store.Ref, 0, 2*len(rooms))
	for _, room := range rooms {
		refs = append(refs, store.Ref{Table: store.Rooms, Key: HeadKey(room)}, store.Ref{Table: store.Users, Key: userlog.CursorKey(user, room)})
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, nil, fmt.Errorf("look at pulled rooms: %w", err)
	}
	heads, cursors := make(map[string]Pos, len(rooms)), make(map[string]userlog.Cursor, len(rooms))
	for _, it := range items {
		if it.Key.Sort == HeadSort {
			h, err := decodeHead(it)
			if err != nil {
				return nil, nil, err
			}
			heads[RoomOfPart(it.Key.Part)] = h.Pos
			continue
		}
		c, err := userlog.DecodeCursor(it)
		if err != nil {
			return nil, nil, err
		}
		cursors[c.Room] = c
	}
	return heads, cursors, nil
}
