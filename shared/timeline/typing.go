package timeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Who types in a room is one row of the users table, TY#room / TYPING, at most
// some 3 KB, which expires; that table has no change stream, so that a keystroke
// starts no worker. Nothing of it goes into a log.
//
// What tells members to look at that row is a hint, userlog.Watch, which is good
// for hintFor. Typing begins by giving one to each active local member, and from
// then on a change costs one write, whatever the number of members: devices that
// wait have found the hint and wait for the room's wakes.
// Somebody who joins changes the room's state, which makes the next change hint
// anew; a user who wakes after a day takes the hints that the others have.
//
// What a device was told is in its token, so that it learns that somebody stopped
// also when the rows are gone by then. If a row or a wake is lost, typing is shown
// late or not at all, and never for longer than its timeout.
const (
	typingPre  = "TY#"
	typingSort = "TYPING"
	// MaxTyping is the longest timeout of typing, and defaultTyping that of clients
	// which name none.
	MaxTyping     = 2 * time.Minute
	defaultTyping = 30 * time.Second
	// typingStep is by how much typing has to be prolonged to be written at all.
	typingStep = 5 * time.Second
	// maxTypers is how many are told to type in a room.
	maxTypers = 20
	// maxHinted is the largest number of active local members, and of local members
	// as a multiple of it, in a room that shows typing.
	maxHinted = 100
	hintFor   = 2 * time.Minute
	// maxWatched is in how many rooms a look sees who types.
	maxWatched = 20
)

// Types is what SetTyping uses.
var Types = grant.Of(grant.ReadTable("rooms"), userlog.Appends)

type typingRow struct {
	Version int64 `db:"v"`
	// Until are milliseconds, by user.
	Until map[string]int64 `db:"u,omitempty"`
	// Hinted is until when hints are good, and State the room's StateVer when they
	// were given.
	Hinted int64 `db:"h,omitempty"`
	State  int64 `db:"sv,omitempty"`
	// Crowd says that there were too many members to give them any.
	Crowd bool `db:"c,omitempty"`
}

func typingKey(room string) store.Key { return store.Key{Part: typingPre + room, Sort: typingSort} }

func decodeTyping(it store.Item) (r typingRow, err error) {
	if it.Exists() {
		err = store.Decode(it, &r)
	}
	return r, err
}

// live returns who types at a time.
func (r typingRow) live(now time.Time) map[string]int64 {
	live := make(map[string]int64, len(r.Until)+1)
	for user, until := range r.Until {
		if until > clock.Millis(now) {
			live[user] = until
		}
	}
	return live
}

// SetTyping says that a user types in a room for as long as the timeout (nil: for
// defaultTyping), or does not. It is bounded by MaxTyping.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
func (s *Service) SetTyping(ctx context.Context, user, room string, typing bool, timeout *time.Duration) error {
	lasts := defaultTyping
	if timeout != nil {
		if lasts = min(*timeout, MaxTyping); lasts < 0 {
			return mxerr.InvalidParam("timeout must not be negative.")
		}
	}
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return err
	}
	if c.Membership != "join" {
		return mxerr.Forbidden("You are not in the room %s.", room)
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: typingKey(room)}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read typing in %s: %w", room, err)
	}
	const maxTries = 8 // typing that is not shown is no harm
	for range maxTries {
		failed, err := s.setTyping(ctx, user, room, typing && lasts > 0, lasts, it)
		if failed == nil {
			return err
		}
		it = *failed
	}
	return nil
}

// setTyping tries once, given the row as it was read, and returns it as it is if
// somebody else was faster.
func (s *Service) setTyping(ctx context.Context, user, room string, typing bool, lasts time.Duration, it store.Item) (*store.Item, error) {
	row, err := decodeTyping(it)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	live := row.live(now)
	was, in := live[user]
	until := clock.Millis(now.Add(lasts))
	switch {
	case typing && in && until >= was && until-was < typingStep.Milliseconds():
		return nil, nil
	case typing && !in && len(live) >= maxTypers, !typing && !in:
		return nil, nil
	case typing:
		live[user] = until
	default:
		delete(live, user)
	}
	next := typingRow{Version: row.Version + 1, Until: live, Hinted: row.Hinted, State: row.State, Crowd: row.Crowd}
	var hinted []string
	if typing {
		if hinted, err = s.hintTyping(ctx, room, &next, now); err != nil {
			return nil, err
		}
	}
	w := store.Put(store.Users, typingKey(room), store.Encode(next)).Until(now.Add(MaxTyping + hintFor))
	if it.Exists() {
		w = w.If(store.Equal("v", row.Version))
	} else {
		w = w.If(store.NotExists())
	}
	_, err = s.DB.Write(ctx, w)
	if f := store.Failed(err); f != nil {
		failed := f.Failed[0]
		return &failed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("write typing in %s: %w", room, err)
	}
	if next.Crowd || in == typing && until >= was && len(hinted) == 0 {
		// Nobody sees it, and who waits there waits for messages; or those who wait
		// look again when the time is up that they know.
		return nil, nil
	}
	keys := []string{userlog.RoomWakeKey(room)}
	for _, u := range hinted {
		keys = append(keys, userlog.WakeKey(u))
	}
	return nil, s.Log.Waker.Wake(ctx, keys...)
}

// hintTyping gives hints to the members if theirs will not be good for long, or
// if there may be other members by now. It returns who was given one.
func (s *Service) hintTyping(ctx context.Context, room string, row *typingRow, now time.Time) ([]string, error) {
	head, err := s.Head(ctx, room)
	if err != nil {
		return nil, err
	}
	if head.StateVer == row.State && row.Hinted-clock.Millis(now) > (hintFor/4).Milliseconds() || !head.RowsCurrent() {
		return nil, nil
	}
	until := now.Add(hintFor)
	row.State, row.Hinted, row.Crowd = head.StateVer, clock.Millis(until), true
	members, err := s.stateRows(ctx, room, memberPre+Local+"#join#", 10*maxHinted+1)
	if err != nil || len(members) > 10*maxHinted {
		return nil, err
	}
	users := make([]string, len(members))
	for i, m := range members {
		users[i] = m.StateKey
	}
	active, err := s.Log.Active(ctx, users)
	if err != nil || len(active) > maxHinted {
		return nil, err
	}
	row.Crowd = false
	return active, parallel(ctx, active, func(ctx context.Context, user string) error {
		return s.Log.Watch(ctx, user, room, until)
	})
}

// watchTyping gives a user who wakes the hints that were given in the rooms. Those
// that are given just now, to whom was active a moment ago, are missed: then typing
// is shown with the next ones.
func (s *Service) watchTyping(ctx context.Context, user string, rooms []string) error {
	refs := make([]store.Ref, len(rooms))
	for i, room := range rooms {
		refs[i] = store.Ref{Table: store.Users, Key: typingKey(room)}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return fmt.Errorf("read where others type: %w", err)
	}
	return parallel(ctx, items, func(ctx context.Context, it store.Item) error {
		row, err := decodeTyping(it)
		if err != nil || row.Hinted <= clock.Millis(s.Clock.Now()) {
			return err
		}
		return s.Log.Watch(ctx, user, strings.TrimPrefix(it.Key.Part, typingPre), time.UnixMilli(row.Hinted))
	})
}
