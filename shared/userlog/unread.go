package userlog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/virga-im/virga/shared/store"
)

// Counter counts what happens in rooms for their members, and knows what all of
// it means. A cursor moves together with its counts, so that each position is
// counted once, whoever moves it.
type Counter interface {
	// Count returns the counts of the cursor moved on to a position, and which of
	// the positions in between are to notify the user. version is that of the
	// user's settings.
	Count(ctx context.Context, user string, version int64, c Cursor, to Pos) (Unread, []Note, error)
}

// Unread is what a user has not read in a room, as of the cursor's To.
type Unread struct {
	// Threads are those with something unread, the main timeline among them, the one
	// with the latest event last: at most maxThreads.
	Threads []ThreadCount `json:"t,omitempty"`
	// Rest are the counts of further threads, together.
	Rest Counts `json:"r,omitzero"`
	// Ahead are receipts by thread, or "" for the whole room, that lie beyond To,
	// set before the log told of the events.
	Ahead map[string]Pos `json:"a,omitempty"`
}

// Counts are numbers of events.
type Counts struct {
	Notify    int `json:"n,omitempty"`
	Highlight int `json:"h,omitempty"`
}

// ThreadCount counts one thread.
type ThreadCount struct {
	Counts
	Thread string `json:"i"`
	// Last is the position of the last event that counts.
	Last Pos `json:"l"`
}

// Note is a position that is to notify the user. Entries carry them, which costs
// nothing; data-model.md, 3 would write a N# row for each, which by the default rules
// is one for each message and member.
type Note struct {
	Pos       Pos  `json:"p"`
	Highlight bool `json:"h,omitempty"`
}

// maxThreads is of how many threads the counts are kept apart. A cursor with
// that many has about 2 KB.
const maxThreads = 20

// maxNotes bounds what one entry notifies of: what is more is counted, but not
// pushed or listed. The first ones are left out, and highlights last.
const maxNotes = 20

// Total is the sum of all threads.
func (u Unread) Total() Counts {
	sum := u.Rest
	for _, t := range u.Threads {
		sum.Notify += t.Notify
		sum.Highlight += t.Highlight
	}
	return sum
}

// Of returns the counts of one thread.
func (u Unread) Of(thread string) ThreadCount {
	for _, t := range u.Threads {
		if t.Thread == thread {
			return t
		}
	}
	return ThreadCount{Thread: thread}
}

// Add counts an event.
func (u *Unread) Add(thread string, p Pos, highlight bool) {
	t := u.Of(thread)
	u.Drop(thread)
	t.Last = p
	t.Notify++
	if highlight {
		t.Highlight++
	}
	u.set(t)
}

func (u *Unread) set(t ThreadCount) {
	u.Threads = append(slices.Clone(u.Threads), t)
	slices.SortStableFunc(u.Threads, func(a, b ThreadCount) int { return cmp.Compare(a.Last, b.Last) })
	if len(u.Threads) > maxThreads {
		u.Rest.Notify += u.Threads[0].Notify
		u.Rest.Highlight += u.Threads[0].Highlight
		u.Threads = u.Threads[1:]
	}
}

// Drop forgets what was counted of a thread.
func (u *Unread) Drop(thread string) {
	u.Threads = slices.DeleteFunc(slices.Clone(u.Threads), func(t ThreadCount) bool { return t.Thread == thread })
}

// Passed reports whether a receipt that is ahead covers an event.
func (u Unread) Passed(thread string, p Pos) bool {
	return u.Ahead[aheadRoom] >= p || u.Ahead[aheadThread(thread)] >= p
}

// SetAhead remembers a receipt beyond the cursor. A thread is nil for the whole
// room.
func (u *Unread) SetAhead(thread *string, p Pos) {
	key := aheadRoom
	if thread != nil {
		key = aheadThread(*thread)
	}
	next := map[string]Pos{key: p}
	for k, old := range u.Ahead {
		if k != key || old > p {
			next[k] = old
		}
	}
	u.Ahead = next
}

// Reach forgets receipts that are not ahead any more.
func (u *Unread) Reach(to Pos) {
	var next map[string]Pos
	for k, p := range u.Ahead {
		if p > to {
			if next == nil {
				next = map[string]Pos{}
			}
			next[k] = p
		}
	}
	u.Ahead = next
}

// aheadRoom is the key of the whole room; threads have a prefix.
const aheadRoom = ""

func aheadThread(thread string) string { return "t" + thread }

// isZero reports whether there is nothing to keep.
func (u Unread) isZero() bool { return len(u.Threads) == 0 && len(u.Ahead) == 0 && u.Rest == Counts{} }

// text is the attribute, or "" if there is nothing to keep.
func (u Unread) text() string {
	if u.isZero() {
		return ""
	}
	text, _ := json.Marshal(u)
	return string(text)
}

const unreadAttr = "u"

// asRead adds to w that the counts become u, on the condition that they are still
// those that were read with the cursor.
func (c Cursor) asRead(w store.Write, u Unread, conds ...store.Cond) store.Write {
	if c.UnreadText == "" {
		conds = append(conds, store.Absent(unreadAttr))
	} else {
		conds = append(conds, store.Equal(unreadAttr, c.UnreadText))
	}
	if text := u.text(); text == "" {
		w = w.Remove(unreadAttr)
	} else {
		w = w.Set(unreadAttr, text)
	}
	return w.If(conds...)
}

// Recount changes the counts of a cursor; change may be called again, with the
// cursor as it is by then. It reports whether that made them others. The log is
// told by who calls it.
func (s *Service) Recount(ctx context.Context, user, room string, change func(Cursor) (Unread, error)) (changed bool, err error) {
	for try := range maxTries {
		c, err := s.Cursor(ctx, user, room)
		if err != nil {
			return false, err
		}
		u, err := change(c)
		if err != nil || u.text() == c.UnreadText {
			return false, err
		}
		stands := store.Equal("o", int64(c.To))
		if c.To == 0 {
			stands = store.Absent("o")
		}
		_, err = s.DB.Write(ctx, c.asRead(store.Update(store.Users, CursorKey(user, room)), u, stands))
		if err == nil {
			return true, nil
		}
		if store.Failed(err) == nil && !isBusy(err) {
			return false, fmt.Errorf("recount %s for %s: %w", room, user, err)
		}
		if err := s.pause(ctx, try); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("recount %s for %s: %w", room, user, store.ErrConflict)
}

// fewer leaves out notes that an entry has no room for.
func fewer(notes []Note) []Note {
	for more := len(notes) - maxNotes; more > 0; more-- {
		i := max(slices.IndexFunc(notes, func(n Note) bool { return !n.Highlight }), 0)
		notes = slices.Delete(notes, i, i+1)
	}
	return notes
}

const (
	settingsAttr = "sv"
	pushersAttr  = "ph"
)

// SettingsChanged returns the write that says that the settings have changed by
// which a Counter counts, to be part of the transaction that changes them.
// version is random, and not zero.
func SettingsChanged(user string, version int64) store.Write {
	return store.Update(store.Users, logKey(user)).Set(settingsAttr, version)
}

// PusherSet returns the write that says that the user has a pusher, to be part of
// the transaction that sets one. version is random, and not zero.
func PusherSet(user string, version int64) store.Write {
	return store.Update(store.Users, logKey(user)).Set(pushersAttr, version)
}

// NoPushers records that the user has none, unless one was set since h was read.
func (s *Service) NoPushers(ctx context.Context, user string, h Head) error {
	w := store.Update(store.Users, logKey(user)).Remove(pushersAttr).If(store.Equal(pushersAttr, h.Pushers))
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil && !isBusy(err) {
		return fmt.Errorf("note that %s has no pushers: %w", user, err)
	}
	return nil
}

// NotesBefore returns the entries with notes before number n of the user's log, the
// newest first, among the last scan of them; from is the number below which
// nothing was looked at, or zero where the log begins.
func (s *Service) NotesBefore(ctx context.Context, user string, n int64, scan int) (entries []Entry, from int64, err error) {
	if n <= 1 {
		return nil, 0, nil
	}
	page, err := s.DB.Query(ctx, store.Query{
		Table: store.Users, Part: Part(user), From: entryPre, To: entrySort(n - 1), Reverse: true, Limit: scan, Consistency: store.Consistent,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read log of %s: %w", user, err)
	}
	now := s.Clock.Now()
	for _, it := range page.Items {
		var e Entry
		if err := store.Decode(it, &e); err != nil {
			return nil, 0, err
		}
		if e.N, err = entryNumber(it.Key.Sort); err != nil {
			return nil, 0, err
		}
		if !it.Expires.After(now) {
			return entries, 0, nil
		}
		if from = e.N; len(e.Notes) > 0 {
			entries = append(entries, e)
		}
	}
	if len(page.Items) < scan && page.Next == "" {
		from = 0
	}
	return entries, from, nil
}
