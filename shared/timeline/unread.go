package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Unread is a userlog.Counter for one room: it counts the events that notify, by
// the push rules of each user, as the cursors move over them. What it reads of the
// room it reads once for all users. It is for one operation: it does not see
// what is redacted later.
//
// An event counts unless a receipt of the user covers it, or an event that the
// user has sent later in its thread. A redacted event does not count; when one is
// redacted that somebody may have counted, the room is counted anew. The rules of
// the time are what counts: a change of them does not change what was counted.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
type Unread struct {
	s    *Service
	room string

	mu    sync.Mutex
	head  *Head
	from  Pos // events are those of (from, to]
	to    Pos
	rows  []*counted
	names map[string]string // the display names of members, if they are known
	size  int               // joined members, if head is set
}

// counted is an event that is being counted for many users at a time.
type counted struct {
	*EventRow
	event *pdu.Event // nil if the position has none

	prepares sync.Once
	push     *push.Event
	threads  sync.Once
	thread   string
	// failed is why something could not be found out about the event.
	mu     sync.Mutex
	failed error
}

func (r *counted) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = cmp.Or(r.failed, err)
}

func (r *counted) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// maxCounted is how many events are looked at to count what a user has not read.
// What is before them does not count, so that a user who was away for long costs
// no more.
const maxCounted = 1000

// CountsUnread is what Unread uses.
var CountsUnread = grant.Of(Reads, accounts.Reads)

// Unread returns the counter of a room.
func (s *Service) Unread(room string) *Unread { return &Unread{s: s, room: room} }

// Knows tells the counter what was read of the room: where it stands, and its local
// members.
func (u *Unread) Knows(head *Head, members []StateRow) *Unread {
	u.names = make(map[string]string, len(members))
	for _, m := range members {
		u.names[m.StateKey] = m.DisplayName
	}
	u.head = head
	return u
}

// With gives the counter an event of the room that was just written, to spare it a
// read; nil is none.
func (u *Unread) With(row *EventRow) *Unread {
	if row == nil {
		return u
	}
	if r, err := prepare(row); err == nil {
		u.from, u.to, u.rows = row.Pos-1, row.Pos, []*counted{r}
	}
	return u
}

// Count implements userlog.Counter.
func (u *Unread) Count(ctx context.Context, user string, version int64, c userlog.Cursor, to Pos) (userlog.Unread, []userlog.Note, error) {
	if c.MembershipAt(to) != "join" {
		notes, err := u.asked(ctx, user, version, c, to)
		return userlog.Unread{}, notes, err
	}
	from, sum := c.To, c.Unread
	if begin := stayed(c, to); begin > from {
		from, sum = begin, userlog.Unread{Ahead: sum.Ahead}
	}
	rows, err := u.between(ctx, from, to)
	if err != nil {
		return sum, nil, err
	}
	var notes []userlog.Note
	var rules *pushSettings
	anew := false
	for _, r := range rows {
		if r.event == nil {
			continue
		}
		if r.event.Redacts != "" && !r.event.IsState() && sum.Total().Notify > 0 {
			anew = true
		}
		switch {
		case r.event.Sender == user:
			if r.reads() && (len(sum.Threads) > 0 || sum.Rest.Notify > 0) {
				thread, err := u.threadOf(ctx, r)
				if err != nil {
					return sum, nil, err
				}
				anew = anew || sum.Rest.Notify > 0
				sum.Drop(thread)
			}
			continue
		case r.Redacted != "":
			continue
		}
		if rules == nil {
			if rules, err = u.s.pushSettings(ctx, user, version); err != nil {
				return sum, nil, err
			}
		}
		o, err := u.outcome(ctx, user, rules, r)
		if err != nil {
			return sum, nil, err
		}
		if o == nil {
			continue
		}
		thread, err := u.threadOf(ctx, r)
		if err != nil {
			return sum, nil, err
		}
		if sum.Passed(thread, r.Pos) {
			continue
		}
		sum.Add(thread, r.Pos, o.Highlight)
		notes = append(notes, userlog.Note{Pos: r.Pos, Highlight: o.Highlight})
	}
	if anew {
		if sum, err = u.recount(ctx, user, version, c, to); err != nil {
			return sum, nil, err
		}
	}
	sum.Reach(to)
	return sum, notes, nil
}

// Notifies reports whether any event of (from, to] notifies a user who is in the room.
func (u *Unread) Notifies(ctx context.Context, user string, version int64, from, to Pos) (bool, error) {
	rows, err := u.between(ctx, from, to)
	if err != nil {
		return false, err
	}
	rules, err := u.s.pushSettings(ctx, user, version)
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		if r.event == nil || r.event.Sender == user {
			continue
		}
		if o, err := u.outcome(ctx, user, rules, r); err != nil || o != nil {
			return o != nil, err
		}
	}
	return false, nil
}

// stayed is where the stay of a user who is in the room at the position began, or
// zero if that is too long ago to be known.
func stayed(c userlog.Cursor, at Pos) (begin Pos) {
	was := ""
	for _, t := range c.Transitions {
		if t.Pos > at {
			break
		}
		if t.Membership == "join" && was != "join" {
			begin = t.Pos
		}
		was = t.Membership
	}
	if begin != 0 && begin == c.Transitions[0].Pos && len(c.Transitions) == userlog.MaxTransitions {
		return 0
	}
	return begin
}

// asked returns the note of an invite: of a user who is not in the room nothing
// else is counted.
func (u *Unread) asked(ctx context.Context, user string, version int64, c userlog.Cursor, to Pos) ([]userlog.Note, error) {
	var notes []userlog.Note
	for _, t := range c.Transitions {
		if t.Pos <= c.To || t.Pos > to || t.Membership != "invite" {
			continue
		}
		row, err := u.s.At(ctx, u.room, t.Pos)
		if err != nil {
			return nil, err
		}
		r, err := prepare(row)
		if err != nil {
			return nil, err
		}
		wanted, err := u.s.Accounts.InviteRules(ctx, user)
		if err != nil {
			return nil, err
		}
		if r.event == nil || r.Redacted != "" || r.ID != t.EventID || wanted.Of(t.Sender) != accounts.InviteAllowed {
			continue
		}
		rules, err := u.s.pushSettings(ctx, user, version)
		if err != nil {
			return nil, err
		}
		o, err := u.outcome(ctx, user, rules, r)
		if err != nil {
			return nil, err
		}
		if o != nil {
			notes = append(notes, userlog.Note{Pos: t.Pos, Highlight: o.Highlight})
		}
	}
	return notes, nil
}

// reads reports whether its sender has read the thread by sending the event. State
// is often sent without a look at the room, such as a new display name.
func (r *counted) reads() bool { return !r.event.IsState() && r.event.Type != typeRedaction }

// recount counts what a user who is in the room has not read, up to a position.
func (u *Unread) recount(ctx context.Context, user string, version int64, c userlog.Cursor, to Pos) (sum userlog.Unread, err error) {
	read, err := u.receipts(ctx, user, []string{""})
	if err != nil {
		return sum, err
	}
	sum.Ahead = c.Unread.Ahead // of threads of which nothing counts yet
	if read[""] > to {
		sum.SetAhead(nil, read[""])
	}
	rows, err := u.between(ctx, max(stayed(c, to), read[""]), to)
	if err != nil {
		return sum, err
	}
	rules, err := u.s.pushSettings(ctx, user, version)
	if err != nil {
		return sum, err
	}
	type unread struct {
		row       *counted
		highlight bool
	}
	var list []unread
	var threads []string
	own := map[string]Pos{}
	for _, r := range rows {
		if r.event == nil || r.event.Sender == user && !r.reads() {
			continue
		}
		if r.event.Sender == user {
			if _, err := u.threadOf(ctx, r); err != nil {
				return sum, err
			}
			own[r.thread] = r.Pos
			continue
		}
		if r.Redacted != "" {
			continue
		}
		o, err := u.outcome(ctx, user, rules, r)
		if err != nil {
			return sum, err
		}
		if o == nil {
			continue
		}
		if _, err := u.threadOf(ctx, r); err != nil {
			return sum, err
		}
		list = append(list, unread{r, o.Highlight})
		if !slices.Contains(threads, r.thread) {
			threads = append(threads, r.thread)
		}
	}
	if read, err = u.receipts(ctx, user, threads); err != nil {
		return sum, err
	}
	for _, thread := range threads {
		if read[thread] > to {
			sum.SetAhead(&thread, read[thread])
		}
	}
	for _, x := range list {
		if thread := x.row.thread; x.row.Pos > max(read[thread], own[thread]) {
			sum.Add(thread, x.row.Pos, x.highlight)
		}
	}
	return sum, nil
}

// receipts returns how far the user has read threads by any receipt; "" is the
// room regardless of threads.
func (u *Unread) receipts(ctx context.Context, user string, threads []string) (map[string]Pos, error) {
	refs := make([]store.Ref, len(threads))
	for i, thread := range threads {
		refs[i] = store.Ref{Table: store.Rooms, Key: ReceiptKey(u.room, user, thread)}
	}
	items, err := store.GetAll(ctx, u.s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read receipts of %s in %s: %w", user, u.room, err)
	}
	read := map[string]Pos{}
	for _, it := range items {
		var r Receipts
		if err := store.Decode(it, &r); err != nil {
			return nil, err
		}
		read[r.Thread] = max(r.Pos, r.PrivatePos)
	}
	return read, nil
}

// Read brings the counts of a user to a receipt that is recorded by now: of a
// thread, or with "" of the room regardless of threads. Most receipts are at the
// latest event, and cost no more than the cursor. It reports whether the counts are
// others now.
func (s *Service) Read(ctx context.Context, user, room, thread string, p Pos) (changed bool, err error) {
	return s.Log.Recount(ctx, user, room, func(c userlog.Cursor) (userlog.Unread, error) {
		sum := c.Unread
		if c.Membership != "join" {
			return sum, nil
		}
		anew := false
		switch {
		case thread == "" && p >= c.To:
			sum = userlog.Unread{Ahead: sum.Ahead}
		case thread == "":
			anew = sum.Total().Notify > 0
		default:
			t := sum.Of(thread)
			anew = t.Last > p || sum.Rest.Notify > 0 // the rest may have some of the thread
			if t.Last <= p {
				sum.Drop(thread)
			}
		}
		if anew {
			h, err := s.Log.Head(ctx, user)
			if err != nil {
				return sum, err
			}
			if sum, err = s.Unread(room).recount(ctx, user, h.Settings, c, c.To); err != nil {
				return sum, err
			}
		}
		if p > c.To && thread == "" {
			sum.SetAhead(nil, p)
		} else if p > c.To {
			sum.SetAhead(&thread, p)
		}
		return sum, nil
	})
}

// between returns the events of (from, to], oldest first, at most the newest
// maxCounted of them.
func (u *Unread) between(ctx context.Context, from, to Pos) ([]*counted, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if from < u.from || to > u.to || u.to == 0 {
		rows, err := u.s.Range(ctx, u.room, from, max(to, u.to), true, maxCounted)
		if err != nil {
			return nil, err
		}
		u.from, u.to = from, max(to, u.to)
		u.rows = make([]*counted, len(rows))
		for i, r := range rows {
			if u.rows[len(rows)-1-i], err = prepare(r); err != nil {
				return nil, err
			}
		}
	}
	first := slices.IndexFunc(u.rows, func(r *counted) bool { return r.Pos > from })
	if first < 0 {
		return nil, nil
	}
	rows := u.rows[first:]
	if i := slices.IndexFunc(rows, func(r *counted) bool { return r.Pos > to }); i >= 0 {
		rows = rows[:i]
	}
	return rows, nil
}

// prepare reads an event for all users together.
func prepare(row *EventRow) (r *counted, err error) {
	r = &counted{EventRow: row}
	if row.Kind != KindState {
		r.event, err = row.Event()
	}
	return r, err
}

// rulesEvent is the event as push rules look at it, or nil after a failure.
func (u *Unread) rulesEvent(ctx context.Context, r *counted) *push.Event {
	r.prepares.Do(func() {
		var err error
		r.push, err = push.NewEvent(r.JSON, push.Facts{
			RoomID: u.room,
			CountMembers: func() int {
				n, err := u.members(ctx)
				r.fail(err)
				return n
			},
			LoadLevels: func() (int64, map[string]int64) {
				sender, notifications, err := u.levels(ctx, r)
				r.fail(err)
				return sender, notifications
			},
		})
		r.fail(err)
	})
	return r.push
}

// members is how many users are joined to the room.
func (u *Unread) members(ctx context.Context) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.size != 0 {
		return u.size, nil
	}
	if u.head == nil {
		head, err := u.s.Head(ctx, u.room)
		if err != nil {
			return 0, err
		}
		u.head = head
	}
	n, err := u.s.countJoined(ctx, u.room, u.head)
	u.size = int(n)
	return u.size, err
}

// levels reads what the sender may notify of, as of the event.
func (u *Unread) levels(ctx context.Context, r *counted) (sender int64, notifications map[string]int64, err error) {
	state, err := u.s.Views(ctx, u.room, r.CurrentRoot(), []auth.Key{{Type: "m.room.create"}, {Type: typeLevels}})
	if err != nil {
		return 0, nil, err
	}
	levels := auth.Levels(r.event.Version, state)
	return levels.UserLevel(r.event.Sender), levels.Notifications(), nil
}

// outcome is what the user's rules say of an event of somebody else, or nil if it
// does not notify.
func (u *Unread) outcome(ctx context.Context, user string, rules *pushSettings, r *counted) (*push.Outcome, error) {
	if rules.ignores(r.event.Sender) {
		return nil, nil
	}
	e := u.rulesEvent(ctx, r)
	if e == nil {
		return nil, r.failure()
	}
	name, err := u.displayName(ctx, user)
	if err != nil {
		return nil, err
	}
	o := rules.rules.Evaluate(e, name)
	if err := r.failure(); err != nil || o == nil || !o.Notify {
		return nil, err
	}
	return o, nil
}

// displayName is that of a local member in the room.
func (u *Unread) displayName(ctx context.Context, user string) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name, ok := u.names[user]; ok {
		return name, nil
	}
	var m StateRow
	items, err := store.GetAll(ctx, u.s.DB, []store.Ref{{Table: store.Rooms, Key: MemberKey(u.room, Local, "join", user)}}, store.Consistent)
	if err != nil {
		return "", fmt.Errorf("read member %s of %s: %w", user, u.room, err)
	}
	for _, it := range items {
		if m, err = decodeState(it); err != nil {
			return "", err
		}
	}
	if u.names == nil {
		u.names = map[string]string{}
	}
	u.names[user] = m.DisplayName
	return m.DisplayName, nil
}

func (u *Unread) threadOf(ctx context.Context, r *counted) (string, error) {
	r.threads.Do(func() {
		var err error
		r.thread, err = u.s.ThreadOf(ctx, u.room, r.EventRow)
		r.fail(err)
	})
	return r.thread, r.failure()
}

// pushSettings is what of a user's account data decides about notifications.
type pushSettings struct {
	rules   *push.Compiled
	ignored map[string]json.RawMessage
}

func (p *pushSettings) ignores(user string) bool {
	_, ok := p.ignored[user]
	return ok
}

// settingsVersion names settings; they are immutable.
type settingsVersion struct {
	user    string
	version int64
}

// pushSettingsSize is about what the settings of a user who has changed little take
// in memory, in bytes.
const pushSettingsSize = 8 << 10

// pushSettings returns the user's settings, which version names: zero are those of
// a user who never changed them. They may be newer, and are then read once more
// under the next version.
func (s *Service) pushSettings(ctx context.Context, user string, version int64) (*pushSettings, error) {
	key := settingsVersion{user, version}
	if p, ok := s.settings.get(key); ok {
		return p, nil
	}
	var changes push.Changes
	p, size := new(pushSettings), pushSettingsSize
	if version != 0 {
		content, err := s.Accounts.AccountDataItems(ctx, user, push.RulesType, accounts.IgnoredUsersType)
		if err != nil {
			return nil, err
		}
		if changes, err = push.ParseChanges(content[push.RulesType]); err != nil {
			return nil, err
		}
		p.ignored = accounts.IgnoredUsers(content[accounts.IgnoredUsersType])
		size += len(content[push.RulesType]) + len(content[accounts.IgnoredUsersType])
	}
	p.rules = push.Compile(user, changes.Rules(user).Global)
	s.settings.put(key, p, size)
	return p, nil
}
