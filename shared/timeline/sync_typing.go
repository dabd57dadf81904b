package timeline

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

const typeTyping = "m.typing"

// toldTyping is who the device believes to type, as a digest by room. Rooms where
// nobody does are left out. It is kept in the token, whose length bounds it:
// typing in further rooms is told when there is space.
type toldTyping map[string][4]byte

func parseToldTyping(s string) toldTyping {
	told := toldTyping{}
	for len(s) > 5 {
		n := int(s[4])
		if len(s) < 5+n {
			return told // not of our making
		}
		told[s[5:5+n]] = [4]byte([]byte(s[:4]))
		s = s[5+n:]
	}
	return told
}

func (t toldTyping) String() string {
	var b []byte
	for _, room := range slices.Sorted(maps.Keys(t)) {
		digest := t[room]
		b = append(append(append(b, digest[:]...), byte(len(room))), room...)
	}
	return string(b)
}

func (t toldTyping) size() (n int) {
	for room := range t {
		n += 5 + len(room)
	}
	return n
}

func typingDigest(users []string) [4]byte {
	sum := sha256.Sum256([]byte(strings.Join(users, "\x00")))
	return [4]byte(sum[:])
}

// typing finds out who types in the rooms where that is not what the
// device was told. n is the last entry of the log that the answer tells of.
// Where nobody types it reads nothing.
func (y *syncing) typing(ctx context.Context, was string, n int64) (now string, err error) {
	f := &y.filter.Room.Ephemeral
	if !f.wantsUnsent(typeTyping) {
		return was, nil
	}
	told := parseToldTyping(was)
	rooms := slices.Collect(maps.Keys(told))
	for _, room := range y.aside.Watched {
		if _, ok := told[room]; !ok && len(rooms) < maxWatched {
			rooms = append(rooms, room)
		}
	}
	if len(rooms) == 0 {
		return was, nil
	}
	slices.Sort(rooms)
	rows, cursors, err := y.s.typingRows(ctx, y.User, rooms)
	if err != nil {
		return was, err
	}
	for _, room := range rooms {
		c := cursors[room]
		c.Room = room // also where there is none
		knownAs, err := y.known(ctx, &view{s: y.s, Viewer: y.Viewer, room: room, cursor: c})
		if err != nil {
			return was, err
		}
		if knownAs != "join" {
			delete(told, room)
		}
		if c.Membership != "join" {
			continue
		}
		y.wakeRooms = append(y.wakeRooms, room)
		// A room that the client does not know yet, or whose news came after the log
		// was read, is told of when that is.
		if knownAs != "join" || c.N > n || !f.wantsRoom(room) || !y.filter.Room.wantsRoom(room) {
			continue
		}
		users, err := y.typers(ctx, room, rows[room])
		if err != nil {
			return was, err
		}
		before, knows := told[room]
		digest := typingDigest(users)
		switch {
		case len(users) == 0 && !knows, knows && digest == before:
			continue
		case len(users) == 0:
			delete(told, room)
		case !knows && told.size()+5+len(room) > token.MaxTyping:
			continue
		default:
			told[room] = digest
		}
		if y.typed == nil {
			y.typed = map[string]json.RawMessage{}
		}
		y.typed[room] = encode(typingEvent{typeTyping, typingContent{users}})
	}
	return told.String(), nil
}

type typingEvent struct {
	Type    string        `json:"type"`
	Content typingContent `json:"content"`
}

type typingContent struct {
	UserIDs []string `json:"user_ids"`
}

// typingRows reads who types in rooms, and the user's cursors for them.
func (s *Service) typingRows(ctx context.Context, user string, rooms []string) (map[string]typingRow, map[string]userlog.Cursor, error) {
	refs := make([]store.Ref, 0, 2*len(rooms))
	for _, room := range rooms {
		refs = append(refs, store.Ref{Table: store.Users, Key: typingKey(room)}, store.Ref{Table: store.Users, Key: userlog.CursorKey(user, room)})
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, nil, fmt.Errorf("read who types: %w", err)
	}
	rows, cursors := make(map[string]typingRow, len(rooms)), make(map[string]userlog.Cursor, len(rooms))
	for _, it := range items {
		if it.Key.Sort != typingSort {
			c, err := userlog.DecodeCursor(it)
			if err != nil {
				return nil, nil, err
			}
			cursors[c.Room] = c
			continue
		}
		if rows[strings.TrimPrefix(it.Key.Part, typingPre)], err = decodeTyping(it); err != nil {
			return nil, nil, err
		}
	}
	return rows, cursors, nil
}

// typers lists who types now, as the user is told: who is in the room still, and
// is not ignored. It notes when that changes by itself.
func (y *syncing) typers(ctx context.Context, room string, row typingRow) ([]string, error) {
	live := row.live(y.s.Clock.Now())
	users := []string{}
	if len(live) == 0 {
		return users, nil
	}
	refs := make([]store.Ref, 0, len(live))
	for user := range live {
		refs = append(refs, store.Ref{Table: store.Rooms, Key: MemberKey(room, Local, "join", user)})
	}
	items, err := store.GetAll(ctx, y.s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read members of %s: %w", room, err)
	}
	for _, it := range items {
		m, err := decodeState(it)
		if err != nil {
			return nil, err
		}
		if m.StateKey != y.User {
			if ignored, err := y.ignores.has(ctx, m.StateKey); err != nil {
				return nil, err
			} else if ignored {
				continue
			}
		}
		users = append(users, m.StateKey)
		if at := time.UnixMilli(live[m.StateKey]); y.again.IsZero() || at.Before(y.again) {
			y.again = at
		}
	}
	slices.Sort(users)
	return users, nil
}
