package timeline

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

// Syncs is what Sync uses. It writes only to the user's own log.
var Syncs = grant.Of(Reads, userlog.Appends, accounts.Reads, grant.ReadTable("server"), SetsPresence)

// SyncRequest is a request of /sync.
type SyncRequest struct {
	Filter    string // JSON or an id; empty: everything
	Since     string // empty: an initial sync
	FullState bool
	// StateAfter sends state_after instead of state; Unstable is its spelling of
	// before Matrix 1.16.
	StateAfter, StateAfterUnstable bool
	// Presence is what the device says that its user is; empty: nothing. Timeout is
	// how long the client will wait before it says so again.
	Presence string
	Timeout  time.Duration

	// stream is for clients of before /sync, which know rooms already and want no
	// state: only what is new, of at most so many entries of the log.
	stream int
	// roomIDs says that events tell their room.
	roomIDs bool
}

// SyncResponse is an answer of /sync, to be written by WriteJSON. It has no empty
// sections.
type SyncResponse struct {
	NextBatch   string       `json:"next_batch"`
	AccountData *Events      `json:"account_data,omitempty"`
	Presence    *Events      `json:"presence,omitempty"`
	DeviceLists *DeviceLists `json:"device_lists,omitempty"`
	// Rooms is for those who read an answer. Sync leaves it nil, as the rooms of an
	// account may be more than memory holds: they are told while they are written.
	Rooms *SyncRooms `json:"rooms,omitempty"`
	// OneTimeKeys and FallbackKeys are always there: a client that misses them
	// takes that for a change.
	OneTimeKeys  map[string]int `json:"device_one_time_keys_count"`
	FallbackKeys []string       `json:"device_unused_fallback_key_types"`

	wakes []string
	again time.Time
	told  *toldRooms
}

// WakeKeys are the keys to wait for beside the user's own: those of the user's
// pulled rooms, and of rooms where somebody types.
func (r *SyncResponse) WakeKeys() []string { return r.wakes }

// LooksAgain is when there will be something new although nobody writes anything:
// somebody will have stopped to type. It is zero if there is no such time.
func (r *SyncResponse) LooksAgain() time.Time { return r.again }

// SyncRooms are the rooms of an answer, by the user's membership.
type SyncRooms struct {
	Join   map[string]*SyncRoom    `json:"join,omitempty"`
	Invite map[string]*InvitedRoom `json:"invite,omitempty"`
	Knock  map[string]*KnockedRoom `json:"knock,omitempty"`
	Leave  map[string]*SyncRoom    `json:"leave,omitempty"`
}

// SyncRoom is a room that the user is in, or was.
type SyncRoom struct {
	Summary             *Summary      `json:"summary,omitempty"`
	State               *Events       `json:"state,omitempty"`
	StateAfter          *Events       `json:"state_after,omitempty"`
	StateAfterUnstable  *Events       `json:"org.matrix.msc4222.state_after,omitempty"`
	Timeline            TimelineBatch `json:"timeline,omitzero"`
	Ephemeral           *Events       `json:"ephemeral,omitempty"`
	AccountData         *Events       `json:"account_data,omitempty"`
	UnreadNotifications *UnreadCounts `json:"unread_notifications,omitempty"`
	// UnreadThreads are those of threads, by the id of the root, if the filter wants
	// them apart.
	UnreadThreads map[string]UnreadCounts `json:"unread_thread_notifications,omitempty"`
}

// TimelineBatch is a part of a room's timeline.
type TimelineBatch struct {
	Events    []json.RawMessage `json:"events"`
	Limited   bool              `json:"limited"`
	PrevBatch string            `json:"prev_batch,omitempty"`
}

// InvitedRoom is a room that the user is invited to.
type InvitedRoom struct {
	State Events `json:"invite_state"`
}

// KnockedRoom is a room that the user asked to join.
type KnockedRoom struct {
	State Events `json:"knock_state"`
}

// Events is a list of events, never nil.
type Events struct {
	Events []json.RawMessage `json:"events"`
}

// UnreadCounts are the counts of notifications.
type UnreadCounts struct {
	Highlight    int `json:"highlight_count"`
	Notification int `json:"notification_count"`
}

// task is what an answer has to tell of one room: the positions in (from, to].
type task struct {
	room     string
	section  section         // where it is told
	cursor   *userlog.Cursor // nil until it is read
	from, to Pos
	// fresh says that the client knows nothing of the room.
	fresh bool
	// again says that it knows something, nobody can tell what: its token is
	// older than the log.
	again bool
	// types are the types of room account data that changed.
	types []string
	// own are the threads of which the user's own receipts changed; receipts says
	// that those of others did, since the room stood at receiptsFrom.
	own          []string
	receipts     bool
	receiptsFrom Pos
}

// syncing is one answer in the making.
type syncing struct {
	s *Service
	Viewer
	req    SyncRequest
	filter *Filter
	all    bool     // whether the answer tells of all rooms, and so is worth giving
	upTo   int64    // the last entry of the log that the answer tells of
	pulled []string // rooms that the next look has to look at
	// aside is what lies beside the log.
	aside userlog.Aside
	// wakeRooms are further rooms whose wakes concern the device, and again is when
	// it has to look without one.
	wakeRooms []string
	again     time.Time

	lazily  lazily
	ignores *ignores
	// inviteRules are read for the first invite.
	inviteOnce  sync.Once
	inviteRules *accounts.InviteRules
	inviteErr   error

	typed map[string]json.RawMessage        // m.typing events by room
	data  map[string][]accounts.AccountData // of rooms, when all of it was read
	tasks []*task                           // in the order in which they are told

	mu sync.Mutex
	// told are the rooms of the answer, for those who write no JSON of them; nil for
	// the others.
	told    map[string]toldRoom
	people  people
	sharing sharing
	// cursors are those of all of the user's rooms, if they were read.
	cursors []userlog.Cursor
}

// Sync answers what is new for a device since a token, and whether that is worth
// answering at once. It tells of each room exactly the positions that the user's
// log tells of, so that no event is told twice or never.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (s *Service) Sync(ctx context.Context, v Viewer, req SyncRequest) (resp *SyncResponse, ready bool, err error) {
	y, err := s.syncing(ctx, v, req)
	if err != nil {
		return nil, false, err
	}
	return y.answer(ctx)
}

func (s *Service) syncing(ctx context.Context, v Viewer, req SyncRequest) (*syncing, error) {
	filter, err := s.filterOf(ctx, v.User, req.Filter)
	if err != nil {
		return nil, err
	}
	return &syncing{s: s, Viewer: v, req: req, filter: filter, ignores: &ignores{s: s, user: v.User}}, nil
}

func (y *syncing) answer(ctx context.Context) (resp *SyncResponse, ready bool, err error) {
	s, v, req := y.s, y.Viewer, y.req
	next, tasks, global, err := y.plan(ctx)
	if err != nil {
		return nil, false, err
	}
	s.synced(ctx, v, req.Presence, req.Timeout, y.aside.Presence)
	y.upTo = next.N
	if next.Typing, err = y.typing(ctx, next.Typing, next.N); err != nil {
		return nil, false, err
	}
	y.lazily.begin(s, v, next.Members, &y.filter.Room.State)
	told, err := y.rooms(ctx, tasks)
	if err != nil {
		return nil, false, err
	}
	if y.lazily.on && (y.all || y.lazily.any()) {
		next.Members = draw()
		told.number = next.Members
	}
	resp = &SyncResponse{told: told, again: y.again, NextBatch: next.String(v.User, v.Device), OneTimeKeys: map[string]int{"signed_curve25519": 0}, FallbackKeys: []string{}}
	for _, room := range append(y.wakeRooms, y.pulled...) {
		resp.wakes = append(resp.wakes, userlog.RoomWakeKey(room))
	}
	if resp.Presence, err = y.presence(ctx); err != nil {
		return nil, false, err
	}
	if resp.DeviceLists, err = y.deviceLists(ctx); err != nil {
		return nil, false, err
	}
	ready = resp.Presence != nil
	if len(global) > 0 {
		resp.AccountData, ready = &Events{global}, true
	}
	return resp, ready || told.any(), nil
}

// plan finds out what is to be told: the rooms, and the global account data.
func (y *syncing) plan(ctx context.Context) (next token.Sync, tasks []*task, global []json.RawMessage, err error) {
	if y.req.Since == "" {
		y.all = true
		h, err := y.s.now(ctx, y.User)
		if err != nil {
			return next, nil, nil, err
		}
		next, y.pulled = token.Sync{Epoch: h.Epoch, N: h.N}, h.Pulled
		if y.aside, err = y.s.Log.Aside(ctx, y.User); err != nil {
			return next, nil, nil, err
		}
		y.people.anew = true
		tasks, global, err = y.everything(ctx, next.N, false)
		return next, tasks, global, err
	}
	since, err := token.ParseSync(y.req.Since, y.User, y.Device)
	if err != nil {
		return next, nil, nil, badToken("since", err)
	}
	page, dormant, err := y.page(ctx, since)
	if err != nil {
		return next, nil, nil, err
	}
	rebuild := page.Gap || since.Epoch != page.Head.Epoch
	y.all = rebuild || y.req.FullState
	next, y.pulled = token.Sync{Epoch: page.Head.Epoch, N: page.Head.N, ToDevice: since.ToDevice, Members: since.Members, Typing: since.Typing}, page.Head.Pulled
	y.aside = page.Aside
	y.people.anew = rebuild || dormant || y.req.FullState
	if rebuild && y.req.stream > 0 {
		return next, nil, nil, mxerr.InvalidParam("The token in \"from\" is too old; begin anew with /initialSync.")
	}
	if rebuild {
		tasks, global, err = y.everything(ctx, next.N, true)
		return next, tasks, global, err
	}
	byRoom := map[string]*task{}
	of := func(room string) *task {
		t := byRoom[room]
		if t == nil {
			t = &task{room: room}
			byRoom[room] = t
			tasks = append(tasks, t)
		}
		return t
	}
	var types []string
	for _, e := range page.Entries {
		switch {
		case e.Kind == userlog.KindRoom:
			t := of(e.Room)
			if t.to == 0 {
				t.from = e.From
			}
			t.to = max(t.to, e.To)
		case e.Kind == userlog.KindAccountData && e.Room == "":
			types = append(types, e.Type)
		case e.Kind == userlog.KindAccountData:
			t := of(e.Room)
			t.types = append(t.types, e.Type)
		case e.Kind == userlog.KindReceipt || e.Kind == userlog.KindReceipts:
			of(e.Room).note(e)
		case e.Kind == userlog.KindPresence:
			y.people.change(e)
		}
	}
	if y.req.FullState {
		cursors, err := y.snapshot(ctx, next.N)
		if err != nil {
			return next, nil, nil, err
		}
		for _, c := range cursors {
			if byRoom[c.room] != nil {
				byRoom[c.room].cursor = c.cursor
			} else if c.cursor.MembershipAt(c.to) == "join" {
				t := of(c.room)
				t.cursor, t.from, t.to = c.cursor, c.to, c.to
			}
		}
	}
	global, err = y.globalData(ctx, types)
	return next, tasks, global, err
}

// everything is the plan of a device that knows nothing, or (again) of one whose
// token is older than the log.
func (y *syncing) everything(ctx context.Context, n int64, again bool) (tasks []*task, global []json.RawMessage, err error) {
	cursors, err := y.snapshot(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range cursors {
		t.fresh, t.again = true, again
		if m := t.cursor.MembershipAt(t.to); m == "leave" || m == "ban" {
			// Who may take it for joined is told in any case.
			if !again && (t.cursor.Forgotten || !y.filter.Room.IncludeLeave) {
				continue
			}
		}
		tasks = append(tasks, t)
	}
	all, err := y.s.Accounts.AllAccountData(ctx, y.User)
	if err != nil {
		return nil, nil, err
	}
	y.data = map[string][]accounts.AccountData{}
	for _, d := range all {
		y.data[d.Room] = append(y.data[d.Room], d)
	}
	if !slices.ContainsFunc(y.data[""], func(d accounts.AccountData) bool { return d.Type == push.RulesType }) {
		y.data[""] = append(y.data[""], accounts.AccountData{Type: push.RulesType})
	}
	global, err = y.showGlobal(y.data[""])
	return tasks, global, err
}

// snapshot returns the user's rooms with the positions that the first n entries
// of the log tell of.
func (y *syncing) snapshot(ctx context.Context, n int64) ([]*task, error) {
	cursors, err := y.s.Log.Cursors(ctx, y.User)
	if err != nil {
		return nil, err
	}
	y.cursors = cursors
	// Some cursors may be ahead of n by now. An entry after n begins where n
	// stands, and a cursor's entry is in the log before the cursor moves again.
	begins := map[string]Pos{}
	if slices.ContainsFunc(cursors, func(c userlog.Cursor) bool { return c.N > n }) {
		page, err := y.s.Log.After(ctx, y.User, n, 0)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			if _, ok := begins[e.Room]; !ok && e.Kind == userlog.KindRoom {
				begins[e.Room] = e.From
			}
		}
	}
	behind, err := y.s.Log.Behind(ctx, y.User, userlog.Head{N: n}, cursors)
	if err != nil {
		return nil, err
	}
	tasks := make([]*task, 0, len(cursors))
	for _, c := range cursors {
		t := &task{room: c.Room, cursor: &c, to: c.To}
		if behind[c.Room] {
			t.to = c.From
		}
		if p, ok := begins[c.Room]; ok && c.N > n {
			t.to = p
		}
		if t.to != 0 {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// told is the position that the log tells of, given a cursor whose slot is
// written by now: with the cursor's entry, or with one of another room that was
// faster. Then the cursor's entry is still to come.
func (s *Service) told(ctx context.Context, user string, c userlog.Cursor) (Pos, error) {
	if c.N == 0 {
		return c.To, nil
	}
	page, err := s.Log.After(ctx, user, c.N-1, 1)
	if err != nil {
		return 0, err
	}
	for _, e := range page.Entries {
		if e.N == c.N && (e.Kind != userlog.KindRoom || e.Room != c.Room || e.To != c.To) {
			return c.From, nil
		}
	}
	return c.To, nil // an entry that has expired was there
}

// globalData returns the global account data of the given types.
func (y *syncing) globalData(ctx context.Context, types []string) ([]json.RawMessage, error) {
	data, err := y.items(ctx, "", types)
	if err != nil {
		return nil, err
	}
	return y.showGlobal(data)
}

// showGlobal is show for global data, in which the push rules are kept in a form
// of their own.
func (y *syncing) showGlobal(data []accounts.AccountData) (_ []json.RawMessage, err error) {
	for i, d := range data {
		if d.Type == push.RulesType {
			if data[i].Content, err = push.Render(y.User, d.Content); err != nil {
				return nil, err
			}
		}
	}
	return show(data, &y.filter.AccountData), nil
}

func (y *syncing) items(ctx context.Context, room string, types []string) ([]accounts.AccountData, error) {
	slices.Sort(types)
	var data []accounts.AccountData
	for _, typ := range slices.Compact(types) {
		d, err := y.s.Accounts.AccountDataItem(ctx, y.User, room, typ)
		switch {
		case mxerr.Is(err, "M_NOT_FOUND") && room == "" && typ == push.RulesType:
			d = accounts.AccountData{Type: typ}
		case mxerr.Is(err, "M_NOT_FOUND"):
			d = accounts.AccountData{Type: typ, Content: json.RawMessage("{}")} // it was deleted
		case err != nil:
			return nil, err
		}
		data = append(data, d)
	}
	return data, nil
}

func show(data []accounts.AccountData, f *EventFilter) []json.RawMessage {
	var events []json.RawMessage
	for _, d := range data {
		if f.wantsUnsent(d.Type) {
			events = append(events, encode(d))
		}
	}
	return events
}
