package timeline

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// place finds out where a room is told: in the section of the user's membership at
// the end of the task.
func (y *syncing) place(ctx context.Context, t *task) error {
	if t.cursor == nil {
		c, err := y.s.Log.Cursor(ctx, y.User, t.room)
		if err != nil {
			return err
		}
		t.cursor = &c
	}
	w := y.view(t)
	var membership string
	var err error
	if t.to != 0 {
		membership, err = w.membershipAtPos(ctx, t.to)
	} else {
		membership, err = y.known(ctx, w)
	}
	if err != nil {
		return err
	}
	t.section = sectionOf(membership)
	if t.to == 0 && membership == "" {
		t.section = nowhere
	}
	return nil
}

// known is the membership that the client knows of after the answer, in a room of
// which that does not tell. The user may have moved since the log was read: a room
// that was joined meanwhile is told of with its state, when the entry for that is.
func (y *syncing) known(ctx context.Context, w *view) (string, error) {
	c := w.cursor
	if n := len(c.Transitions); n == 0 || c.N <= y.upTo && c.Transitions[n-1].Pos <= c.From {
		return c.Membership, nil
	}
	p, err := w.positionAt(ctx, y.upTo)
	if err != nil || p == 0 {
		return "", err
	}
	return w.membershipAtPos(ctx, p)
}

func (y *syncing) view(t *task) *view {
	return &view{
		s: y.s, Viewer: y.Viewer, room: t.room, cursor: *t.cursor, until: end, ignores: y.ignores,
		appliesTimeline: !y.req.StateAfter && !y.req.StateAfterUnstable,
	}
}

// toldRoom is what an answer says of a room: a *SyncRoom, *InvitedRoom or
// *KnockedRoom.
type toldRoom interface {
	encode() []byte
}

// tell returns what the answer says of one room, or nil.
func (y *syncing) tell(ctx context.Context, t *task) (toldRoom, error) {
	var room *SyncRoom
	var err error
	switch asked := t.section == invitedRooms || t.section == knockedRooms; {
	case t.section == nowhere, asked && t.to == 0:
		return nil, nil
	case asked:
		return y.asked(ctx, y.view(t), t)
	case t.to == 0:
		room, err = y.onlyData(ctx, t)
	case t.section == joinedRooms:
		room, err = y.joined(ctx, y.view(t), t)
	default:
		room, err = y.left(ctx, y.view(t), t)
	}
	if err != nil || room == nil {
		return nil, err
	}
	y.spell(room)
	return room, nil
}

// onlyData is for a room of which nothing but account data and ephemeral events
// changed.
func (y *syncing) onlyData(ctx context.Context, t *task) (room *SyncRoom, err error) {
	room = new(SyncRoom)
	switch t.section {
	case joinedRooms:
		if t.cursor.Membership != "join" {
			break
		}
		if room.Ephemeral, err = y.ephemeral(ctx, t); err != nil {
			return nil, err
		}
		if len(t.own) > 0 {
			room.unread(t.cursor.Unread, y.filter)
		}
	case leftRooms:
		if !y.filter.Room.IncludeLeave || t.cursor.Forgotten || t.cursor.Membership == "" {
			return nil, nil
		}
	}
	if room.AccountData, err = y.roomData(ctx, t); err != nil || room.empty() && room.UnreadNotifications == nil {
		return nil, err
	}
	return room, nil
}

// joined tells of a room that the user is in.
func (y *syncing) joined(ctx context.Context, w *view, t *task) (*SyncRoom, error) {
	k := known{nothing: t.fresh || y.req.FullState}
	var seen Pos
	if !t.fresh {
		// Whoever was out of the room meanwhile begins anew: what was missed cannot
		// be told as a difference.
		before, err := w.membershipAtPos(ctx, t.from)
		if err != nil {
			return nil, err
		}
		if before != "join" || slices.ContainsFunc(w.cursor.Transitions, func(tr userlog.Transition) bool {
			return tr.Pos > t.from && tr.Pos <= t.to && tr.Membership != "join"
		}) {
			t.fresh, k.nothing = true, true
		}
		seen = w.lastSeen(t.from, before)
	}
	if t.fresh {
		t.from = y.beginning(t)
	}
	st, err := w.walk(ctx, t.from, t.to, &y.filter.Room.Timeline)
	if err != nil {
		return nil, err
	}
	// Who was in the room before may know some of it, and would take it for new.
	st.limited = st.limited || t.again || t.fresh && seen != 0
	if err := y.remember(ctx, w, st, &k, t.from, seen); err != nil {
		return nil, err
	}
	room, err := y.body(ctx, w, st, k, true)
	if err != nil {
		return nil, err
	}
	if room.AccountData, err = y.roomData(ctx, t); err != nil {
		return nil, err
	}
	if room.Ephemeral, err = y.ephemeral(ctx, t); err != nil {
		return nil, err
	}
	if err := y.meetIn(ctx, t.room, t.fresh, st.rows); err != nil {
		return nil, err
	}
	room.unread(t.cursor.Unread, y.filter)
	if !k.nothing && room.empty() {
		return nil, nil
	}
	return room, nil
}

// unread adds the counts of what the user has not read, also where there is
// nothing: it is news to a client that knew of something.
func (r *SyncRoom) unread(sum userlog.Unread, f *Filter) {
	show := func(c userlog.Counts) UnreadCounts {
		return UnreadCounts{Highlight: c.Highlight, Notification: c.Notify}
	}
	all := show(sum.Total())
	r.UnreadNotifications = &all
	if !f.Room.Timeline.UnreadThreads {
		return
	}
	all = show(sum.Of(MainThread).Counts)
	for _, t := range sum.Threads {
		if t.Thread != MainThread {
			if r.UnreadThreads == nil {
				r.UnreadThreads = map[string]UnreadCounts{}
			}
			r.UnreadThreads[t.Thread] = show(t.Counts)
		}
	}
}

// beginning is from where a room is told of that the client does not know: all of
// it or, in a stream of what is new, since the user joined.
func (y *syncing) beginning(t *task) (from Pos) {
	if y.req.stream == 0 {
		return 0
	}
	was := ""
	for _, tr := range t.cursor.Transitions {
		if tr.Membership == "join" && was != "join" && tr.Pos <= t.to {
			from = max(t.from, tr.Pos-1)
		}
		was = tr.Membership
	}
	return from
}

// empty reports whether the room has nothing to tell.
func (r *SyncRoom) empty() bool {
	for _, e := range []*Events{r.State, r.StateAfter, r.StateAfterUnstable, r.AccountData, r.Ephemeral} {
		if e != nil && len(e.Events) > 0 {
			return false
		}
	}
	return r.Summary == nil && len(r.Timeline.Events) == 0 && !r.Timeline.Limited
}

// lastSeen is a position not after the last one of whose state a client knows
// something, given its token's position and the membership there; zero if there
// is none.
func (w *view) lastSeen(from Pos, membership string) Pos {
	if membership == "join" {
		return from
	}
	// An invite hides that the user left before it, so what was known then is from
	// anywhere in the time before.
	var joined Pos
	for _, t := range w.cursor.Transitions {
		switch {
		case t.Pos > from:
		case t.Membership == "join" && joined == 0:
			joined = t.Pos
		case joined != 0 && (t.Membership == "invite" || t.Membership == "knock"):
			return joined
		}
	}
	left, _ := departure(w.cursor, from)
	return left
}

// remember fills in the state that the client knows. One that is told the state
// anew, but loads members lazily, may remember members of when it last saw them.
func (y *syncing) remember(ctx context.Context, w *view, st *stretch, k *known, from, seen Pos) (err error) {
	switch {
	case !k.nothing && st.from != nil:
		k.root = *st.from
	case !k.nothing:
		k.root, err = y.s.RootAt(ctx, w.room, from)
	case y.filter.Room.State.LazyLoadMembers:
		k.root, err = y.s.RootAt(ctx, w.room, seen)
	}
	return err
}

// body is the timeline and the state of a room.
func (y *syncing) body(ctx context.Context, w *view, st *stretch, k known, summary bool) (*SyncRoom, error) {
	f := &y.filter.Room
	after := y.req.StateAfter || y.req.StateAfterUnstable
	ids, changed, err := w.stateFor(ctx, st, k, after, &f.State)
	if err != nil {
		return nil, err
	}
	if err := y.share(ctx, w, st, k, changed, summary); err != nil {
		return nil, err
	}
	if st.beyond != nil && (after || !slices.Contains(st.rows, st.beyond)) {
		ids[trie.Key{Type: typeMember, StateKey: w.User}] = st.beyond.ID
	}
	room := new(SyncRoom)
	if summary && (k.nothing || changed.changesSummary()) {
		if room.Summary, err = w.summary(ctx, st.end); err != nil {
			return nil, err
		}
	}
	if f.State.LazyLoadMembers {
		users, err := senders(st.rows)
		if err != nil {
			return nil, err
		}
		if k.nothing {
			users = append(users, w.User)
		}
		if room.Summary != nil {
			users = append(users, room.Summary.Heroes...)
		}
		if err := y.addMembers(ctx, w, ids, st, k.nothing, after, users); err != nil {
			return nil, err
		}
	}
	rows, err := w.events(ctx, ids, &f.State)
	if err != nil {
		return nil, err
	}
	if err := y.lazily.tells(w.room, k.nothing, rows, st.rows); err != nil {
		return nil, err
	}
	state, err := w.show(ctx, rows, y.format(false))
	if err != nil {
		return nil, err
	}
	room.State = &Events{state}
	room.Timeline = TimelineBatch{Limited: st.limited, PrevBatch: token.Position(st.before)}
	shows := y.format(true)
	// Who gets every event aggregates them itself.
	shows.bundle = st.limited
	if room.Timeline.Events, err = w.show(ctx, st.rows, shows); err != nil {
		return nil, err
	}
	return room, nil
}

func (y *syncing) format(prev bool) format {
	return format{noRoomID: !y.req.roomIDs, prev: prev, federation: y.filter.EventFormat == "federation", fields: y.filter.EventFields}
}

// left tells of a room that the user is not in any more: up to the departure,
// and no further.
func (y *syncing) left(ctx context.Context, w *view, t *task) (*SyncRoom, error) {
	i := -1
	for j, tr := range w.cursor.Transitions {
		if tr.Pos <= t.to {
			i = j
		}
	}
	if i < 0 {
		return nil, nil
	}
	last := w.cursor.Transitions[i]
	if !t.fresh && last.Pos <= t.from {
		return y.onlyData(ctx, t)
	}
	was, ok := departure(w.cursor, t.to)
	w.until = was
	st, k := new(stretch), known{}
	var err error
	if ok && (t.fresh && !t.again || !t.fresh && was > t.from) {
		before, err := w.membershipAtPos(ctx, t.from)
		if err != nil {
			return nil, err
		}
		seen := w.lastSeen(t.from, before)
		if k.nothing = t.fresh || before != "join"; k.nothing {
			t.from = y.beginning(t)
		}
		if st, err = w.walk(ctx, t.from, was, &y.filter.Room.Timeline); err != nil {
			return nil, err
		}
		if err := y.remember(ctx, w, st, &k, t.from, seen); err != nil {
			return nil, err
		}
	} else {
		st.before, st.limited = last.Pos-1, t.again
	}
	// The user learns of a refused or withdrawn invite, and of a ban after the
	// departure, and of nothing else that happened.
	if !ok || last.Pos > was || t.again {
		if st.beyond, _, err = y.s.transitionRow(ctx, t.room, last); err != nil {
			return nil, err
		}
	}
	if err := y.showBeyond(t.room, st); err != nil {
		return nil, err
	}
	room, err := y.body(ctx, w, st, k, false)
	if err != nil {
		return nil, err
	}
	if room.AccountData, err = y.roomData(ctx, t); err != nil {
		return nil, err
	}
	return room, nil
}

// showBeyond puts the membership event that is beyond the end into the timeline, if
// the filter has it there.
func (y *syncing) showBeyond(room string, st *stretch) error {
	f := &y.filter.Room.Timeline
	if st.beyond == nil || f.limit() == 0 || !f.wantsRoom(room) {
		return nil
	}
	e, err := st.beyond.Visible()
	if err != nil {
		return err
	}
	there := slices.ContainsFunc(st.rows, func(r *EventRow) bool { return r.ID == st.beyond.ID })
	if !there && f.wantsEvent(e) {
		st.rows = append(st.rows, st.beyond)
	}
	return nil
}

// transitionRow returns the event of a change of membership, or nil if it was lost
// without one. Most often it is the event of the position; where the state was
// resolved anew, it may be an older one. The root is that of the state after it.
func (s *Service) transitionRow(ctx context.Context, room string, tr userlog.Transition) (*EventRow, trie.Root, error) {
	row, err := s.At(ctx, room, tr.Pos)
	if err != nil {
		return nil, trie.Root{}, err
	}
	root := row.CurrentRoot()
	if row.ID == tr.EventID {
		return row, root, nil
	}
	rows, err := s.KnownEvents(ctx, room, []string{tr.EventID})
	return rows[tr.EventID], root, err
}

// asked tells of an invite, or of a knock: the room as it shows itself to people
// outside, and the membership event.
func (y *syncing) asked(ctx context.Context, w *view, t *task) (toldRoom, error) {
	i := slices.IndexFunc(w.cursor.Transitions, func(tr userlog.Transition) bool { return tr.Pos > t.to })
	if i < 0 {
		i = len(w.cursor.Transitions)
	}
	if i == 0 {
		return nil, nil
	}
	tr := w.cursor.Transitions[i-1]
	if !t.fresh && tr.Pos <= t.from {
		return nil, nil
	}
	if t.section == invitedRooms {
		if wanted, err := y.wantsInvite(ctx, tr.Sender); err != nil || !wanted {
			return nil, err
		}
	}
	row, root, err := y.s.transitionRow(ctx, t.room, tr)
	if err != nil || row == nil {
		return nil, err
	}
	rows, err := y.s.StateEvents(ctx, t.room, root, append(memberKeys(tr.Sender), stripped...)...)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rows, func(r *EventRow) bool { return r.ID == row.ID }) {
		rows = append(rows, row)
	}
	state := Events{make([]json.RawMessage, 0, len(rows))}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		state.Events = append(state.Events, e.StrippedJSON())
	}
	if t.section == knockedRooms {
		return &KnockedRoom{state}, nil
	}
	return &InvitedRoom{state}, nil
}

// spell puts the state under the key that the client asks for, which is there even
// if there is none to tell.
func (y *syncing) spell(r *SyncRoom) {
	state := r.State
	if state == nil {
		state = &Events{}
	}
	if !y.req.StateAfter && !y.req.StateAfterUnstable {
		r.State = state
		return
	}
	r.State = nil
	if y.req.StateAfter {
		r.StateAfter = state
	}
	if y.req.StateAfterUnstable {
		r.StateAfterUnstable = state
	}
}

// roomData returns the room's account data that the client does not have.
func (y *syncing) roomData(ctx context.Context, t *task) (*Events, error) {
	var data []accounts.AccountData
	var err error
	switch {
	case !y.filter.Room.AccountData.wantsRoom(t.room):
	case y.data != nil:
		data = y.data[t.room]
	case t.fresh:
		data, err = y.s.Accounts.AccountData(ctx, y.User, t.room)
	default:
		data, err = y.items(ctx, t.room, t.types)
	}
	events := show(data, &y.filter.Room.AccountData.EventFilter)
	if err != nil || events == nil {
		return nil, err
	}
	return &Events{events}, nil
}
