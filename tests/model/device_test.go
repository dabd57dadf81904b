package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"
)

// device is a client: what it knows is what it made of the answers of /sync, and of
// /messages where these left a gap.
type device struct {
	w     *world
	r     *rand.Rand
	name  string
	user  string
	id    string
	token string

	after, lazy, leaves, threads bool // use_state_after, lazy_load_members, include_leave, unread_thread_notifications
	// late fills gaps at the end and not at once, and bounded gives /messages the
	// token of the /sync before as the other end.
	late, bounded bool
	limit         int

	since   string
	rooms   map[string]*room
	account map[string]string // global account data by type
	sent    map[string]string // client transaction by event
	txns    int
	cut     bool     // the last request was cut at least once before it was answered
	recent  []string // what it did, for the messages
}

// room is a room as a device knows it.
type room struct {
	id         string
	membership string
	state      map[string]event // by stateKey
	pieces     []*piece
	has        map[string]bool // events of pieces
	data       map[string]string
	receipts   map[receiptID]string
	typing     string
	counts     unread
	// overlaps says that the device was told again what it knew, with a limited
	// timeline: the server knew no better.
	overlaps bool
	// stale says that the user was asked in, or asked, since the state was told: a
	// whole stay may have been in between, and is not told of if the user is out
	// again.
	stale bool
	// vague says that the device cannot know the whole timeline: the room was
	// forgotten while it was looking.
	vague bool
}

// piece is a part of the timeline without a gap. Before it may be one.
type piece struct {
	gap    string // token for /messages, empty if there is no gap
	to     string // token of the /sync before
	events []event
}

type event struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"type"`
	Sender   string          `json:"sender"`
	StateKey *string         `json:"state_key"`
	Content  json.RawMessage `json:"content"`
	Redacts  string          `json:"redacts"`
	Unsigned struct {
		TransactionID   string          `json:"transaction_id"`
		RedactedBecause json.RawMessage `json:"redacted_because"`
		Relations       json.RawMessage `json:"m.relations"`
	} `json:"unsigned"`
}

func stateKey(typ, key string) string { return typ + "|" + key }

type events struct{ Events []event }

type syncRoom struct {
	State, Ephemeral events
	StateAfter       *events `json:"state_after"`
	AccountData      events  `json:"account_data"`
	Timeline         struct {
		Events    []event
		Limited   bool
		PrevBatch string `json:"prev_batch"`
	}
	Unread        *counts           `json:"unread_notifications"`
	UnreadThreads map[string]counts `json:"unread_thread_notifications"`
}

type syncAnswer struct {
	NextBatch   string `json:"next_batch"`
	AccountData events `json:"account_data"`
	Rooms       struct {
		Join, Leave map[string]*syncRoom
		Invite      map[string]struct {
			State events `json:"invite_state"`
		}
		Knock map[string]struct {
			State events `json:"knock_state"`
		}
	}
}

func (a *syncAnswer) empty() bool {
	r := a.Rooms
	return len(a.AccountData.Events)+len(r.Join)+len(r.Leave)+len(r.Invite)+len(r.Knock) == 0
}

func (d *device) room(id string) *room {
	if d.rooms[id] == nil {
		d.rooms[id] = &room{id: id, state: map[string]event{}, has: map[string]bool{}, data: map[string]string{}, receipts: map[receiptID]string{}}
	}
	return d.rooms[id]
}

// forget makes the device know nothing.
func (d *device) forget() {
	d.since, d.rooms, d.account = "", map[string]*room{}, map[string]string{}
}

// fresh is the same client, started anew.
func (d *device) fresh() *device {
	c := *d
	c.forget()
	return &c
}

// maxAsked is how often a device asks for one thing.
const maxAsked = 300

// do makes a request, of any of the processes, until it is answered.
func (d *device) do(method, path string, body any) (answer, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	what := method + " " + path + " " + string(raw)
	if d.recent = append(d.recent, what); len(d.recent) > 40 {
		d.recent = d.recent[1:]
	}
	d.cut = false
	for range maxAsked {
		a, answered := d.w.once(d.r.IntN(processes), d.token, method, path, raw)
		if answered {
			if a.status == 401 {
				return a, fmt.Errorf("%s of %s: %d %s", what, d.name, a.status, a.body)
			}
			return a, nil
		}
		d.cut = true
		time.Sleep(time.Duration(1+d.r.IntN(5)) * time.Millisecond)
	}
	return answer{}, fmt.Errorf("%s of %s has no answer", what, d.name)
}

// get makes a request that is answered with 200, into v.
func (d *device) get(path string, v any) error {
	a, err := d.do("GET", path, nil)
	if err != nil {
		return err
	}
	if !a.ok() {
		return fmt.Errorf("GET %s of %s: %d %s", path, d.name, a.status, a.body)
	}
	return a.into(v)
}

const v3 = "/_matrix/client/v3/"

func in(room, rest string) string { return v3 + "rooms/" + url.PathEscape(room) + "/" + rest }

func (d *device) filter() string {
	return fmt.Sprintf(`{"room":{"include_leave":%t,"timeline":{"limit":%d,"unread_thread_notifications":%t},"state":{"lazy_load_members":%t}}}`, d.leaves, d.limit, d.threads, d.lazy)
}

// ask asks /sync for what is new and does nothing with the answer.
func (d *device) ask(timeout time.Duration, full bool) (*syncAnswer, error) {
	q := url.Values{"filter": {d.filter()}, "timeout": {fmt.Sprint(timeout.Milliseconds())}}
	if d.since != "" {
		q.Set("since", d.since)
	}
	if d.after {
		q.Set("use_state_after", "true")
	}
	if full {
		q.Set("full_state", "true")
	}
	a := new(syncAnswer)
	return a, d.get(v3+"sync?"+q.Encode(), a)
}

// sync asks what is new and takes it over. It reports whether there was anything.
func (d *device) sync(timeout time.Duration, full bool) (news bool, err error) {
	a, err := d.ask(timeout, full)
	if err != nil {
		return false, err
	}
	if err := d.apply(a); err != nil {
		return false, fmt.Errorf("%s: %w", d, err)
	}
	if !d.late {
		if err := d.fillAll(); err != nil {
			return false, err
		}
	}
	return !a.empty(), nil
}

func (d *device) String() string {
	return fmt.Sprintf("%s (state_after %t, lazy %t, limit %d, late %t, bounded %t, include_leave %t, threads %t)", d.name, d.after, d.lazy, d.limit, d.late, d.bounded, d.leaves, d.threads)
}

func (d *device) apply(a *syncAnswer) error {
	if a.NextBatch == "" {
		return errors.New("no next_batch")
	}
	for _, e := range a.AccountData.Events {
		d.account[e.Type] = string(e.Content)
	}
	for id, r := range a.Rooms.Join {
		if err := d.applyRoom(d.room(id), "join", r); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	for id, r := range a.Rooms.Leave {
		if err := d.applyRoom(d.room(id), "leave", r); err != nil {
			return fmt.Errorf("%s (left): %w", id, err)
		}
	}
	for id, r := range a.Rooms.Invite {
		if err := d.outside(id, "invite", r.State); err != nil {
			return err
		}
	}
	for id, r := range a.Rooms.Knock {
		if err := d.outside(id, "knock", r.State); err != nil {
			return err
		}
	}
	d.since = a.NextBatch
	return nil
}

// outside takes over an invite or a knock.
func (d *device) outside(id, membership string, state events) error {
	d.room(id).stale = true
	if d.room(id).membership = membership; !slices.ContainsFunc(state.Events, func(e event) bool {
		return e.Type == "m.room.member" && e.StateKey != nil && *e.StateKey == d.user && membershipOf(e) == membership
	}) {
		return fmt.Errorf("%s: no %s in the stripped state %v", id, membership, state)
	}
	return nil
}

func membershipOf(e event) string {
	var c struct{ Membership string }
	_ = json.Unmarshal(e.Content, &c)
	return c.Membership
}

func (d *device) applyRoom(m *room, membership string, r *syncRoom) error {
	// Whoever was out of a room begins its timeline anew.
	anew := m.membership != "join" && (membership == "join" || len(r.Timeline.Events) > 0 || r.Timeline.PrevBatch != "")
	if m.membership = membership; membership == "join" {
		m.stale = false
	}
	state := r.State.Events
	switch {
	case d.after && r.StateAfter != nil:
		state = r.StateAfter.Events
	case d.after && len(r.Timeline.Events) > 0:
		return errors.New("no state_after")
	}
	for _, e := range state {
		if e.StateKey == nil {
			return fmt.Errorf("the state holds %s, which is none", e.ID)
		}
		m.state[stateKey(e.Type, *e.StateKey)] = e
	}
	if r.Timeline.Limited && !anew && slices.ContainsFunc(r.Timeline.Events, func(e event) bool { return m.has[e.ID] }) {
		m.overlaps, anew = true, true
	}
	if anew {
		m.pieces, m.has, m.vague, m.typing = nil, map[string]bool{}, false, ""
	}
	if anew || r.Timeline.Limited || len(m.pieces) == 0 && len(r.Timeline.Events) > 0 {
		if r.Timeline.PrevBatch == "" {
			return errors.New("a timeline that begins anew has no prev_batch")
		}
		p := &piece{gap: r.Timeline.PrevBatch}
		if !anew && !d.w.month {
			p.to = d.since // a token that is older than the log has no place in a room
		}
		m.pieces = append(m.pieces, p)
	}
	if n := len(r.Timeline.Events); n > d.limit && (membership == "join" || n > d.limit+1) {
		return fmt.Errorf("%d events in a timeline of at most %d", n, d.limit)
	}
	for _, e := range r.Timeline.Events {
		if m.has[e.ID] {
			return fmt.Errorf("%s is told twice", e)
		}
		m.has[e.ID] = true
		last := m.pieces[len(m.pieces)-1]
		last.events = append(last.events, e)
		if _, ok := m.state[stateKey("m.room.member", e.Sender)]; !ok && e.Type != "m.room.create" && e.Type != "m.room.member" {
			return fmt.Errorf("it is not told who sent %s", e)
		}
		if e.StateKey != nil && !d.after {
			m.state[stateKey(e.Type, *e.StateKey)] = e
		}
		if txn := e.Unsigned.TransactionID; txn != d.sent[e.ID] {
			return fmt.Errorf("%s was sent with the transaction %q and has %q", e, d.sent[e.ID], txn)
		}
	}
	for _, e := range r.AccountData.Events {
		m.data[e.Type] = string(e.Content)
	}
	for _, e := range r.Ephemeral.Events {
		if err := m.ephemeral(e); err != nil {
			return err
		}
	}
	if r.Unread != nil {
		m.counts = unread{*r.Unread, r.UnreadThreads}
	}
	return nil
}

func (e event) String() string {
	key := ""
	if e.StateKey != nil {
		key = " of " + *e.StateKey
	}
	return fmt.Sprintf("%s %s%s by %s %s", e.ID, e.Type, key, e.Sender, e.Content)
}

func (m *room) ephemeral(e event) error {
	switch e.Type {
	case "m.typing":
		var c struct {
			UserIDs []string `json:"user_ids"`
		}
		if err := json.Unmarshal(e.Content, &c); err != nil {
			return err
		}
		slices.Sort(c.UserIDs)
		m.typing = fmt.Sprint(c.UserIDs)
	case "m.receipt":
		var c map[string]map[string]map[string]struct {
			Thread string `json:"thread_id"`
		}
		if err := json.Unmarshal(e.Content, &c); err != nil {
			return err
		}
		for id, types := range c {
			for typ, users := range types {
				for user, r := range users {
					m.receipts[receiptID{room: m.id, user: user, typ: typ, thread: r.Thread}] = id
				}
			}
		}
	}
	return nil
}
