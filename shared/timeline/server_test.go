package timeline_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// server is the domains over the embedded store, in memory. Fan-out happens when
// the test says so, by deliver.
type server struct {
	t        testing.TB
	ctx      context.Context
	db       store.DB
	rooms    *rooms.Service
	timeline *timeline.Service
	accounts *accounts.Service
	log      *userlog.Service
	tasks    *tasks
	made     int // rooms
}

const (
	alice = "@alice:test"
	bob   = "@bob:test"
	carol = "@carol:test"
)

// open starts a server with the users alice, bob and carol.
func open(t testing.TB) *server {
	t.Helper()
	return openWith(t, local.NewMemory().Options(), clock.System{})
}

// openWith is open with a store and a clock of the test's.
func openWith(t testing.TB, opt local.Options, clock clock.Clock) *server {
	t.Helper()
	opt.Clock = clock
	l, err := local.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var tables []string
	for _, table := range store.Tables {
		tables = append(tables, table.Name)
	}
	db := l.DB()
	s := &server{t: t, db: db, tasks: &tasks{clock: clock}, ctx: grant.With(t.Context(), "test", grant.Of(grant.ReadTable(tables...), grant.WriteTable(tables...), grant.Wakes()), nil)}
	s.log = &userlog.Service{DB: db, Clock: clock, Waker: l.Wake()}
	s.accounts = accounts.New(accounts.Options{DB: db, Clock: clock, Log: s.log, ServerName: "test", Registration: "open", PasswordCost: "min", NoLimits: true})
	s.timeline = timeline.New(timeline.Options{DB: db, Clock: clock, Log: s.log, Accounts: s.accounts, ServerName: "test", Presence: true, Queues: s.tasks})
	s.rooms = rooms.New(rooms.Options{
		DB: db, Clock: clock, ServerName: "test", Keys: &federation.Keys{DB: db, Rand: rand.Reader},
		Accounts: s.accounts, Directory: &directory.Service{DB: db, ServerName: "test"},
		Push:     &push.Service{DB: db, Clock: clock, Accounts: s.accounts, Log: s.log},
		Timeline: s.timeline, Log: s.log,
	})
	for _, name := range []string{"alice", "bob", "carol"} {
		_, err := s.accounts.Register(s.ctx, accounts.Registration{Username: name, Password: "a password", InhibitLogin: true},
			&accounts.AuthData{Type: "m.login.dummy"})
		s.ok(err)
	}
	return s
}

func (s *server) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) refused(err error, code string) {
	s.t.Helper()
	if !mxerr.Is(err, code) {
		s.t.Fatalf("got %v, want %s", err, code)
	}
}

// create makes a public room of alice.
func (s *server) create(state ...rooms.StateEvent) string {
	s.t.Helper()
	// The id of a room is the hash of its first event, so that no two may be alike.
	s.made++
	room, err := s.rooms.Create(s.ctx, rooms.Creation{
		Creator: alice, Preset: "public_chat", InitialState: state, Content: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(s.made))},
	})
	s.ok(err)
	return room
}

func visibility(v string) rooms.StateEvent {
	return rooms.StateEvent{Type: "m.room.history_visibility", Content: json.RawMessage(`{"history_visibility":"` + v + `"}`)}
}

func (s *server) join(room string, users ...string) {
	s.t.Helper()
	for _, u := range users {
		s.ok(s.rooms.Join(s.ctx, u, room, ""))
	}
	s.deliver(room)
}

// say sends messages and returns the id of the last one.
func (s *server) say(room, user string, bodies ...string) string {
	s.t.Helper()
	last := ""
	for _, b := range bodies {
		content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": b})
		sent, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: user, Content: content})
		s.ok(err)
		last = sent.ID
	}
	s.deliver(room)
	return last
}

func (s *server) set(room, user, typ, key, content string) string {
	s.t.Helper()
	sent, err := s.rooms.SetState(s.ctx, room, rooms.Draft{Type: typ, StateKey: &key, Sender: user, Content: json.RawMessage(content)})
	s.ok(err)
	s.deliver(room)
	return sent.ID
}

// deliver tells the members of a room what happened.
func (s *server) deliver(room string) {
	s.t.Helper()
	s.ok(s.rooms.Dispatch(s.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}))
}

func viewer(user string) timeline.Viewer { return timeline.Viewer{User: user, Device: "D"} }

// sync asks for what is new for a user's device.
func (s *server) sync(user, since, filter string) *timeline.SyncResponse {
	s.t.Helper()
	return s.syncs(user, timeline.SyncRequest{Since: since, Filter: filter})
}

func (s *server) syncs(user string, req timeline.SyncRequest) *timeline.SyncResponse {
	s.t.Helper()
	resp, _, err := s.timeline.Sync(s.ctx, viewer(user), req)
	s.ok(err)
	return s.read(resp)
}

// read is an answer as a client reads it.
func (s *server) read(resp *timeline.SyncResponse) *timeline.SyncResponse {
	s.t.Helper()
	var body bytes.Buffer
	s.ok(resp.WriteJSON(s.ctx, &body))
	read := *resp // with what it waits for
	read.AccountData, read.Rooms = nil, new(timeline.SyncRooms)
	if err := json.Unmarshal(body.Bytes(), &read); err != nil {
		s.t.Fatalf("%v in %s", err, body.Bytes())
	}
	return &read
}

// event is an event as a client reads it.
type event struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"type"`
	Sender   string          `json:"sender"`
	StateKey *string         `json:"state_key"`
	Room     string          `json:"room_id"`
	Content  map[string]any  `json:"content"`
	Unsigned map[string]any  `json:"unsigned"`
	Redacts  string          `json:"redacts"`
	Raw      json.RawMessage `json:"-"`
}

func (s *server) events(raw []json.RawMessage) []event {
	s.t.Helper()
	events := make([]event, len(raw))
	for i, r := range raw {
		s.ok(json.Unmarshal(r, &events[i]))
		events[i].Raw = r
	}
	return events
}

// bodies shows events shortly: a message by its body, a membership by user and
// membership, other state by its type.
func (s *server) bodies(raw []json.RawMessage) []string {
	s.t.Helper()
	list := []string{}
	for _, e := range s.events(raw) {
		list = append(list, e.short())
	}
	return list
}

func (e event) short() string {
	switch body, _ := e.Content["body"].(string); {
	case e.StateKey == nil && body != "":
		return body
	case e.Type == "m.room.member":
		m, _ := e.Content["membership"].(string)
		return *e.StateKey + " " + m
	}
	return e.Type
}

func (s *server) same(what string, got, want []string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// head is the state of a room by type and key, as the server has it.
func (s *server) head(room string) map[string]string {
	s.t.Helper()
	h, err := s.timeline.Head(s.ctx, room)
	s.ok(err)
	rows, err := s.timeline.StateEvents(s.ctx, room, h.CurrentRoot())
	s.ok(err)
	state := map[string]string{}
	for _, r := range rows {
		e, err := r.Event()
		s.ok(err)
		state[e.Type+"|"+*e.StateKey] = r.ID
	}
	return state
}

// all reads the whole history that a user sees, oldest first, page by page.
func (s *server) all(user, room string, limit int) []json.RawMessage {
	s.t.Helper()
	var chunk []json.RawMessage
	for from, page := "", 0; ; page++ {
		resp, err := s.timeline.Messages(s.ctx, viewer(user), timeline.MessagesRequest{
			Room: room, From: from, Limit: limit, Filter: new(timeline.RoomEventFilter),
		})
		s.ok(err)
		chunk = append(chunk, resp.Chunk...)
		if from = resp.End; from == "" {
			return chunk
		}
		if page > 1000 {
			s.t.Fatal(errors.New("the history has no end"))
		}
	}
}

func message(user, body string) rooms.Draft {
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	return rooms.Draft{Type: "m.room.message", Sender: user, Content: content}
}

// invitation is alice's, or how she turns somebody out.
func invitation(user string) rooms.Membership { return rooms.Membership{Sender: alice, Target: user} }

func (s *server) register(name string) string {
	s.t.Helper()
	_, err := s.accounts.Register(s.ctx, accounts.Registration{Username: name, Password: "a password", InhibitLogin: true},
		&accounts.AuthData{Type: "m.login.dummy"})
	s.ok(err)
	return "@" + name + ":test"
}
