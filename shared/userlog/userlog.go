// Package userlog keeps one log for each local user, without gaps: what there
// is to tell the user's devices, in one order. /sync reads nothing else to learn
// what is new.
//
// Rows of the users table, under the partition U#user:
//
//   - LOG {n, e, a, w, pl, pv}: never expires; 1 KB, and more for members of
//     very many large rooms. n is written with the first entry
//     and every hintEvery entries after. It is a lower bound of the last entry's
//     number, at most hintEvery below it; where nothing is left of a log, numbers
//     go on after n+hintEvery, and n moves there in the transaction of the entry.
//     If it were lost, numbers would start again and tokens would be wrong. e is
//     the restore generation of the server (see Restored). a and w are the user's Activity,
//     written by /sync at most once an hour and when the user wakes; if they were
//     lost or rolled back, the next /sync would find the user dormant and catch
//     up, as it does anyway. pl and pv are the pulled rooms that the user's
//     devices look at (see timeline.Fan), written by fan-out and, to remove some,
//     by /sync; what is missing there would not be told before the user does
//     something in the room or is away for a day. sv changes with the user's
//     settings, in their transaction, so that a Counter reads those only then; ph
//     says that the user has pushers.
//   - L#n: one Entry, at most 1 KB, kept for Retention. Written once, by
//     whoever appends, conditional on its absence and only when L#n-1 is known
//     to exist or to have expired. If one is lost, readers see the gap and
//     rebuild (Page.Gap).
//   - LOG~room {u}: see Watch; 1 KB, until a time of some minutes.
//   - LOG~presence: see timeline.SetPresence.
//   - ROOM#room: the Cursor, at most some 5 KB, most often 1 KB; written by fan-out, by
//     the user's receipts and by the transaction of the user's own membership
//     events. If it lags, the dispatcher redoes fan-out; it
//     is never rolled back but by a restore, which bumps the epoch.
//
// An entry for a room says that (From, To] of the room's order is to be told.
// Each position of a room falls in exactly one entry of a member's log. Entries
// for what happens in rooms are only written for active users (see Activity);
// what the user does, or what is done to the user, always is.
package userlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
)

// Pos is a position in a room's order: a segment in the upper 32 bits, and in
// the lower ones an offset biased by 2^31, so that appending raises a position
// and backfilling below a segment lowers it. Zero is before everything.
type Pos uint64

// FirstPos is the position of the first event that a server gives a room it
// creates.
const FirstPos Pos = 1<<31 + 1

// String is the form in sort keys: 16 hexadecimal digits, ordered as numbers.
func (p Pos) String() string { return fmt.Sprintf("%016x", uint64(p)) }

// ParsePos reads what String wrote.
func ParsePos(s string) (Pos, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("%q is not a position", s)
	}
	return Pos(n), nil
}

// Retention is how long entries are kept. A device that was away for longer
// gets what it missed by a gap in each room.
const Retention = 30 * 24 * time.Hour

// hintEvery is the largest distance between LOG.n and the last entry.
const hintEvery = 64

// Kind says what an entry tells.
type Kind string

// The kinds of entries.
const (
	// KindRoom is (From, To] of Room.
	KindRoom Kind = "room"
	// KindAccountData is a change of account data; Room is empty for global
	// data, Type is the type of the data.
	KindAccountData Kind = "account_data"
	// KindForget says that the user forgot Room.
	KindForget Kind = "forget"
)

// Entry is one entry of a log.
type Entry struct {
	N    int64  `db:"-"`
	Kind Kind   `db:"k"`
	Room string `db:"r,omitempty"`
	Type string `db:"t,omitempty"`
	From Pos    `db:"f,omitempty"`
	To   Pos    `db:"o,omitempty"`
	// Notes are the positions that are to notify the user.
	Notes []Note `db:"nt,omitempty"`
}

// Transition is a change of the user's own membership in a room.
type Transition struct {
	Pos        Pos    `json:"p"`
	Membership string `json:"m"`
	// EventID is the membership event, and Sender who sent it.
	EventID string `json:"e"`
	Sender  string `json:"s"`
}

// Cursor is what a user's log knows of a room.
type Cursor struct {
	Room string `db:"-"`
	// Membership is the user's current membership, as of the last transition.
	Membership string `db:"m,omitempty"`
	// Transitions are the user's latest own membership changes, oldest first, at
	// most MaxTransitions.
	Transitions []Transition `db:"tr,omitempty"`
	// Forgotten hides the room until the user is invited or joins again.
	Forgotten bool `db:"fg,omitempty"`
	// From, To and N are the last entry of the room: N is zero if there is none
	// yet, and the entry may be missing from the log if its writer died; the
	// next append repairs it.
	From Pos   `db:"f,omitempty"`
	To   Pos   `db:"o,omitempty"`
	N    int64 `db:"n,omitempty"`
	// Unread is what the user has not read up to To, and UnreadText as it is kept.
	Unread     Unread `db:"-"`
	UnreadText string `db:"u,omitempty"`
}

// MaxTransitions is how many transitions a cursor keeps, which have about 3 KB. One that
// has fewer knows all there were.
const MaxTransitions = 16

// MembershipAt returns the user's membership just after the position: that of
// the last transition at or before it, or "" if that is not known any more.
func (c Cursor) MembershipAt(p Pos) string {
	m := ""
	for _, t := range c.Transitions {
		if t.Pos <= p {
			m = t.Membership
		}
	}
	return m
}

// Service is the userlog domain.
type Service struct {
	DB    store.DB
	Clock clock.Clock
	Waker wake.Waker

	seen seen
}

// Appends and Reads are what the operations use.
var (
	Appends = grant.Of(grant.ReadTable("users"), grant.WriteTable("users"), grant.Wakes())
	Reads   = grant.ReadTable("users")
)

// WakeKey is the key that a waiting device of the user arms.
func WakeKey(user string) string { return "user " + user }

// Part is the partition key of a user's rows in the users table.
func Part(user string) string { return partPre + user }

// UserOfPart is the user of a partition that Part made.
func UserOfPart(part string) string { return strings.TrimPrefix(part, partPre) }

const (
	partPre    = "U#"
	logSort    = "LOG"
	entryPre   = "L#"
	cursorPre  = "ROOM#"
	epochAttr  = "e"
	hintAttr   = "n"
	firstEpoch = 1
)

func entrySort(n int64) string { return fmt.Sprintf("L#%016x", n) }

// CursorKey is the key of the user's cursor for a room.
func CursorKey(user, room string) store.Key {
	return store.Key{Part: Part(user), Sort: cursorPre + room}
}

// Head is where a log ends.
type Head struct {
	N     int64
	Epoch int64
	Activity
	pulled
	// Settings is the version of what a Counter counts by, or zero if the user
	// never changed any of it.
	Settings int64
	// Pushers is not zero if the user has a pusher, or had one.
	Pushers int64
	hint    int64
	fresh   bool  // LOG has no n yet
	dead    bool  // nothing is left of the log: N is beyond all that may have been
	last    Entry // the last entry that is there, if the log was read from its end
}

// soon is how long before an entry expires appenders regard it as gone. Readers
// wait until it is: whoever saw the entry as the end of the log, on any clock,
// has appended the next one before a reader takes a number beyond.
const soon = time.Hour

// Head returns the end of the user's log.
func (s *Service) Head(ctx context.Context, user string) (Head, error) {
	return s.head(ctx, user, s.Clock.Now())
}

// head is Head where entries that expire before alive are gone: the store may
// have deleted them, and not in their order, so the last one that is there need
// not be the last one that was.
func (s *Service) head(ctx context.Context, user string, alive time.Time) (Head, error) {
	// LOG sorts just after the entries, so one read from the end has both.
	page, err := s.DB.Query(ctx, store.Query{
		Table: store.Users, Part: Part(user), From: entryPre, To: logSort, Reverse: true, Limit: 2, Consistency: store.Consistent,
	})
	if err != nil {
		return Head{}, fmt.Errorf("read end of log of %s: %w", user, err)
	}
	h := Head{fresh: true, Epoch: firstEpoch, dead: true}
	for _, it := range page.Items {
		if it.Key.Sort == logSort {
			if err := h.read(it); err != nil {
				return Head{}, err
			}
			continue
		}
		if h.N, err = entryNumber(it.Key.Sort); err != nil {
			return Head{}, err
		}
		if err := store.Decode(it, &h.last); err != nil {
			return Head{}, err
		}
		h.last.N = h.N
		h.dead = !it.Expires.After(alive)
		break
	}
	h.beyond()
	return h, nil
}

// read takes over what the LOG row says.
func (h *Head) read(it store.Item) (err error) {
	if _, ok := it.Attrs[hintAttr]; ok {
		h.fresh, h.hint, h.Epoch = false, it.Int(hintAttr), it.Int(epochAttr)
	}
	h.Activity, h.Settings, h.Pushers = activityOf(it), it.Int(settingsAttr), it.Int(pushersAttr)
	h.pulled, err = pulledOf(it)
	return err
}

// beyond moves the end of a log of which nothing is left beyond all that may
// have been.
func (h *Head) beyond() {
	if h.dead && !h.fresh {
		h.N = max(h.N, h.hint+hintEvery)
	}
}

func entryNumber(sort string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(sort, entryPre), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("log entry with sort key %q", sort)
	}
	return n, nil
}

// Page is what a reader gets: the entries after the number it asked for.
type Page struct {
	Entries []Entry
	Head    Head
	// Gap is set when entries after the asked number have expired, so that the
	// reader must rebuild its view.
	Gap bool
	// Aside is there if the log was read to its end.
	Aside
}

// After returns the entries with numbers above n, at most limit of them; Head.N
// is the number to ask from next. Without a limit it also finds out whether
// entries have expired of which nothing is left.
func (s *Service) After(ctx context.Context, user string, n int64, limit int) (Page, error) {
	p := Page{Head: Head{N: n, Epoch: firstEpoch, fresh: true, dead: true}}
	// The entry n itself tells whether those after it can have expired.
	q := store.Query{Table: store.Users, Part: Part(user), From: entrySort(n), To: watchPre + "\U0010FFFF", Consistency: store.Consistent}
	if limit > 0 {
		q.Limit = limit + 1
	}
	now := s.Clock.Now()
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return Page{}, fmt.Errorf("read log of %s: %w", user, err)
		}
		if it.Key.Sort == logSort {
			if err := p.Head.read(it); err != nil {
				return Page{}, err
			}
			continue
		}
		if p.add(it, now) {
			continue
		}
		p.Head.dead = !it.Expires.After(now)
		var e Entry
		if e.N, err = entryNumber(it.Key.Sort); err != nil {
			return Page{}, err
		}
		if e.N == n {
			continue
		}
		if err := store.Decode(it, &e); err != nil {
			return Page{}, err
		}
		if e.N != p.Head.N+1 {
			p.Gap = true
		}
		p.Head.N = e.N
		if p.Entries = append(p.Entries, e); len(p.Entries) == limit {
			return p, nil
		}
	}
	if p.Head.fresh || !p.Head.dead || p.Head.N >= p.Head.hint+hintEvery {
		return p, nil
	}
	// Nothing says that this is the end. Only a read from the end does: one
	// forwards may have passed by entries that came while it went on.
	h, err := s.Head(ctx, user)
	if err != nil {
		return Page{}, err
	}
	p.Gap = p.Gap || h.N > p.Head.N
	if h.N > p.Head.N {
		p.Head = h
	}
	return p, nil
}

// LastBefore returns the room's last entry with a number of at most n, which is
// the token's position in the room. ok is false if there is none that is kept.
func (s *Service) LastBefore(ctx context.Context, user, room string, n int64) (e Entry, ok bool, err error) {
	q := store.Query{Table: store.Users, Part: Part(user), From: entryPre, To: entrySort(n), Reverse: true, Consistency: store.Consistent}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return Entry{}, false, fmt.Errorf("read log of %s: %w", user, err)
		}
		if it.Str("r") != room || it.Str("k") != string(KindRoom) {
			continue
		}
		if err := store.Decode(it, &e); err != nil {
			return Entry{}, false, err
		}
		e.N, err = entryNumber(it.Key.Sort)
		return e, err == nil, err
	}
	return Entry{}, false, nil
}

// Cursor returns the user's cursor for a room; without one, the zero Cursor.
func (s *Service) Cursor(ctx context.Context, user, room string) (Cursor, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: CursorKey(user, room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return Cursor{Room: room}, nil
	}
	if err != nil {
		return Cursor{}, fmt.Errorf("read cursor of %s in %s: %w", user, room, err)
	}
	return DecodeCursor(it)
}

// DecodeCursor reads a ROOM# row.
func DecodeCursor(it store.Item) (Cursor, error) {
	c := Cursor{Room: strings.TrimPrefix(it.Key.Sort, cursorPre)}
	err := store.Decode(it, &c)
	if err == nil && c.UnreadText != "" {
		if err = json.Unmarshal([]byte(c.UnreadText), &c.Unread); err != nil {
			err = fmt.Errorf("decode counts of %s: %w", c.Room, err)
		}
	}
	return c, err
}

// Cursors returns the user's cursors for all rooms, also those left and
// forgotten.
func (s *Service) Cursors(ctx context.Context, user string) ([]Cursor, error) {
	var all []Cursor
	q := store.Query{Table: store.Users, Part: Part(user), Consistency: store.Consistent}.Prefix(cursorPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read cursors of %s: %w", user, err)
		}
		c, err := DecodeCursor(it)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// MembershipChanged returns the write that records a user's own membership event
// in the cursor, to be part of the event's transaction. c is the cursor as it
// was read; the write fails if the membership has changed since.
func MembershipChanged(user string, c Cursor, t Transition) store.Write {
	last := ""
	if n := len(c.Transitions); n > 0 {
		last = c.Transitions[n-1].EventID
	}
	next := append(append([]Transition(nil), c.Transitions...), t)
	if len(next) > MaxTransitions {
		next = next[len(next)-MaxTransitions:]
	}
	w := store.Update(store.Users, CursorKey(user, c.Room)).
		SetAll(store.Encode(Cursor{Membership: t.Membership, Transitions: next})).
		Set("te", t.EventID)
	if t.Membership != "leave" && t.Membership != "ban" {
		w = w.Remove("fg")
	}
	if last == "" {
		return w.If(store.Absent("te"))
	}
	return w.If(store.Equal("te", last))
}

// Forget hides a room that the user has left, and tells the other devices. It
// reports false if the user is in the room.
func (s *Service) Forget(ctx context.Context, user, room string) (bool, error) {
	w := store.Update(store.Users, CursorKey(user, room)).Set("fg", true).
		If(store.AnyOf(store.Equal("m", "leave"), store.Equal("m", "ban")))
	if _, err := s.DB.Write(ctx, w); store.Failed(err) != nil {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("forget %s for %s: %w", room, user, err)
	}
	_, err := s.Append(ctx, user, Entry{Kind: KindForget, Room: room})
	return err == nil, err
}
