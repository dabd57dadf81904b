package rooms_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/virga-im/virga/events/auth"
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

// server is the domains over the embedded store, in memory.
type server struct {
	t        testing.TB
	ctx      context.Context
	store    *local.Local
	rooms    *rooms.Service
	timeline *timeline.Service
	accounts *accounts.Service
	log      *userlog.Service
}

func everything() grant.Set {
	var names []string
	for _, t := range store.Tables {
		names = append(names, t.Name)
	}
	return grant.Of(grant.ReadTable(names...), grant.WriteTable(names...), grant.Wakes())
}

func open(t testing.TB, opt local.Options) *server {
	t.Helper()
	l, err := local.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &server{t: t, store: l, ctx: grant.With(t.Context(), "test", everything(), nil)}
	s.log = &userlog.Service{DB: l.DB(), Clock: clock.System{}, Waker: l.Wake()}
	s.accounts = accounts.New(accounts.Options{DB: l.DB(), Clock: clock.System{}, Log: s.log, ServerName: "test", Registration: "open", PasswordCost: "min", NoLimits: true})
	s.timeline = timeline.New(timeline.Options{DB: l.DB(), Clock: clock.System{}, Log: s.log, Accounts: s.accounts, ServerName: "test"})
	s.rooms = rooms.New(rooms.Options{
		DB: l.DB(), Clock: clock.System{}, ServerName: "test", Keys: &federation.Keys{DB: l.DB(), Rand: rand.Reader},
		Accounts: s.accounts, Directory: &directory.Service{DB: l.DB(), ServerName: "test"},
		Push:     &push.Service{DB: l.DB(), Clock: clock.System{}, Accounts: s.accounts, Log: s.log},
		Timeline: s.timeline, Log: s.log,
	})
	return s
}

// register makes an account, however many interactive stages that takes.
func (s *server) register(name string) string {
	s.t.Helper()
	user := "@" + name + ":test"
	if _, err := s.accounts.Register(s.ctx, accounts.Registration{Username: name, Password: "a password", InhibitLogin: true},
		&accounts.AuthData{Type: "m.login.dummy"}); err != nil {
		s.t.Fatalf("register %s: %v", name, err)
	}
	return user
}

// look lets a device of the user look, which makes the user active.
func (s *server) look(user string) {
	s.t.Helper()
	_, _, err := s.timeline.Sync(s.ctx, timeline.Viewer{User: user, Device: "D"}, timeline.SyncRequest{})
	s.ok(err)
}

func (s *server) create(c rooms.Creation) string {
	s.t.Helper()
	room, err := s.rooms.Create(s.ctx, c)
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	return room
}

func (s *server) say(room, user, body string) rooms.Sent {
	s.t.Helper()
	sent, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: user, Content: text(body)})
	if err != nil {
		s.t.Fatalf("send: %v", err)
	}
	return sent
}

func text(body string) json.RawMessage {
	b, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	return b
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

// told returns the positions of a room that a user's log tells, and checks that
// it tells each of them once and leaves none out.
func (s *server) told(user, room string) (from, to timeline.Pos) {
	s.t.Helper()
	page, err := s.log.After(s.ctx, user, 0, 0)
	s.ok(err)
	if page.Gap {
		s.t.Fatalf("the log of %s has a gap", user)
	}
	first := true
	for _, e := range page.Entries {
		if e.Room != room || e.Kind != userlog.KindRoom {
			continue
		}
		if first {
			from, first = e.From, false
		} else if e.From != to {
			s.t.Fatalf("the log of %s tells %s from %s after it told up to %s", user, room, e.From, to)
		}
		to = e.To
	}
	return from, to
}

func TestRoomsOfBothVersionsStartComplete(t *testing.T) {
	for _, version := range rooms.CreatableVersions() {
		t.Run(version, func(t *testing.T) {
			s := open(t, local.NewMemory().Options())
			alice, bob := s.register("alice"), s.register("bob")
			for _, preset := range []string{"private_chat", "public_chat", "trusted_private_chat"} {
				room := s.create(rooms.Creation{
					Creator: alice, Version: version, Preset: preset, Name: "A name", Topic: "A topic", Invite: []string{bob},
					InitialState: []rooms.StateEvent{{Type: "m.room.encryption", Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)}},
				})
				s.ok(s.rooms.Join(s.ctx, bob, room, ""))
				s.say(room, bob, "hello")
				head, err := s.timeline.Head(s.ctx, room)
				s.ok(err)
				events, err := s.timeline.StateEvents(s.ctx, room, head.CurrentRoot())
				s.ok(err)
				var types []string
				for _, row := range events {
					e, err := row.Event()
					s.ok(err)
					types = append(types, e.Type)
				}
				// create, two members, levels, join rules, visibility, guests, encryption, name, topic
				if len(types) != 10 {
					t.Errorf("%s: state is %v", preset, types)
				}
			}
		})
	}
}

func TestRoomsMadeInTheSameMillisecondAreTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time stands still
		for _, name := range []string{"", "a name and more than eight events"} {
			s := open(t, local.NewMemory().Options())
			alice := s.register("alice")
			made := map[string]bool{}
			for range 5 {
				made[s.create(rooms.Creation{Creator: alice, Name: name, Topic: name, InitialState: []rooms.StateEvent{{Type: "org.example", Content: json.RawMessage(`{}`)}}})] = true
			}
			if len(made) != 5 {
				t.Errorf("5 creations made %d rooms", len(made))
			}
		}
	})
}

func TestMembershipsFollowTheRules(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
	room := s.create(rooms.Creation{Creator: alice})
	s.refused(s.rooms.Join(s.ctx, bob, room, ""), "M_FORBIDDEN")
	s.refused(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: bob, Target: carol}), "M_FORBIDDEN")
	s.refused(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: "@nobody:test"}), "M_NOT_FOUND")
	s.ok(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	s.ok(s.rooms.Join(s.ctx, bob, room, ""))
	s.ok(s.rooms.Join(s.ctx, bob, room, "")) // again does nothing
	s.refused(s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: bob, Target: alice}), "M_FORBIDDEN")
	s.refused(s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: alice, Target: carol}), "M_FORBIDDEN")
	s.ok(s.rooms.Ban(s.ctx, room, rooms.Membership{Sender: alice, Target: bob, Reason: "no"}))
	s.refused(s.rooms.Join(s.ctx, bob, room, ""), "M_FORBIDDEN")
	s.refused(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}), "M_FORBIDDEN")
	s.refused(s.rooms.Unban(s.ctx, room, rooms.Membership{Sender: alice, Target: carol}), "M_FORBIDDEN")
	s.ok(s.rooms.Unban(s.ctx, room, rooms.Membership{Sender: alice, Target: bob}))
	_, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: bob, Content: text("let me in")})
	s.refused(err, "M_FORBIDDEN")
	s.refused(s.rooms.Forget(s.ctx, alice, room), "M_UNKNOWN")
	s.ok(s.rooms.Forget(s.ctx, bob, room))
	s.ok(s.rooms.Leave(s.ctx, alice, room, ""))
	joined, err := s.rooms.Joined(s.ctx, alice)
	s.ok(err)
	if len(joined) != 0 {
		t.Errorf("alice is still in %v", joined)
	}
}

func TestATransactionIDMakesOneEvent(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice := s.register("alice")
	room := s.create(rooms.Creation{Creator: alice})
	d := rooms.Draft{Type: "m.room.message", Sender: alice, Content: text("once"), Txn: rooms.Txn{Device: "D", Endpoint: "send", ID: "1"}}
	first, err := s.rooms.Send(s.ctx, room, d)
	s.ok(err)
	again, err := s.rooms.Send(s.ctx, room, d)
	s.ok(err)
	if first.ID != again.ID || first.Pos != again.Pos {
		t.Errorf("the repeated request made %v, the first one %v", again, first)
	}
	d.Txn.Device = "E"
	other, err := s.rooms.Send(s.ctx, room, d)
	s.ok(err)
	if other.ID == first.ID {
		t.Error("another device's transaction is the same")
	}
	// What was answered once is answered again, even to those who left.
	s.ok(s.rooms.Leave(s.ctx, alice, room, ""))
	again, err = s.rooms.Send(s.ctx, room, d)
	s.ok(err)
	if again.ID != other.ID || again.Pos != other.Pos {
		t.Errorf("after leaving: %v, want %v", again, other)
	}
}

func TestManyWritersMakeOneOrder(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice := s.register("alice")
	room := s.create(rooms.Creation{Creator: alice})
	const writers, each = 8, 10
	errs := make(chan error, writers*each)
	for w := range writers {
		go func() {
			for i := range each {
				_, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: text(fmt.Sprint(w, i))})
				errs <- err
			}
		}()
	}
	for range writers * each {
		s.ok(<-errs)
	}
	head, err := s.timeline.Head(s.ctx, room)
	s.ok(err)
	rows, err := s.timeline.Range(s.ctx, room, 0, head.Pos, false, 0)
	s.ok(err)
	for i, r := range rows {
		if r.Pos != userlog.FirstPos+timeline.Pos(i) {
			t.Fatalf("position %d is %s", i, r.Pos)
		}
		e, err := r.Event()
		s.ok(err)
		if i > 0 && (len(e.PrevEvents) != 1 || e.PrevEvents[0] != rows[i-1].ID) {
			t.Fatalf("event %d follows %v, not %s", i, e.PrevEvents, rows[i-1].ID)
		}
	}
	if _, to := s.told(alice, room); to != head.Pos {
		t.Errorf("alice was told up to %s of %s", to, head.Pos)
	}
}

// Names that are changed at the same time end as one name, in the profile and in all
// rooms.
func TestRoomsShowTheLastOfManyNames(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice := s.register("alice")
	var in []string
	for range 3 {
		in = append(in, s.create(rooms.Creation{Creator: alice}))
	}
	const writers, each = 6, 10
	errs := make(chan error, writers*each)
	for range each {
		for w := range writers {
			go func() {
				errs <- s.rooms.SetProfileField(s.ctx, alice, "displayname", json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(w))), true)
			}()
		}
		for range writers {
			s.ok(<-errs)
		}
		p, err := s.accounts.Profile(s.ctx, alice)
		s.ok(err)
		for _, room := range in {
			head, err := s.timeline.Head(s.ctx, room)
			s.ok(err)
			rows, err := s.timeline.StateEvents(s.ctx, room, head.CurrentRoot(), auth.Key{Type: "m.room.member", StateKey: alice})
			s.ok(err)
			e, err := rows[0].Event()
			s.ok(err)
			if !strings.Contains(string(e.Content), `"displayname":`+string(p["displayname"])) {
				t.Fatalf("the profile says %s, and the room %s", p["displayname"], e.Content)
			}
		}
	}
}

func TestFanOutTellsEverybodyOnce(t *testing.T) {
	opt := local.NewMemory().Options()
	opt.Shuffle = true
	s := open(t, opt)
	alice := s.register("alice")
	var others []string
	for i := range 12 {
		others = append(others, s.register(fmt.Sprintf("user%d", i)))
		s.look(others[i])
	}
	room := s.create(rooms.Creation{Creator: alice, Preset: "public_chat"})
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	// Where nobody follows yet, as on a busy machine, there is nothing to settle.
	follows := make(chan struct{})
	begun := sync.OnceFunc(func() { close(follows) })
	go func() {
		_ = s.store.Follow(ctx, store.Rooms.Changes(), "fan_out", func(ctx context.Context, changes []store.Change) error {
			begun()
			return s.rooms.Dispatch(ctx, changes)
		})
	}()
	for _, u := range others {
		s.ok(s.rooms.Join(s.ctx, u, room, ""))
		s.say(room, u, "hello")
	}
	s.ok(s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: alice, Target: others[0]}))
	last := s.say(room, alice, "bye")
	<-follows
	s.ok(s.store.Settled(s.ctx))
	for _, u := range append(others[1:], alice) {
		if _, to := s.told(u, room); to != last.Pos {
			t.Errorf("%s was told up to %s of %s", u, to, last.Pos)
		}
	}
	if _, to := s.told(others[0], room); to != last.Pos-1 {
		t.Errorf("who was kicked was told up to %s, not the kick at %s", to, last.Pos-1)
	}
}

// A change of state without an event may change who is in the room. Whom it
// concerns is told of it, and the others of its position.
func TestFanOutTellsOfAChangeOfStateWithoutAnEvent(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice, bob := s.register("alice"), s.register("bob")
	s.look(alice)
	room := s.create(rooms.Creation{Creator: alice, Preset: "public_chat"})
	s.ok(s.rooms.Join(s.ctx, bob, room, ""))
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	dispatch := func() {
		s.ok(s.rooms.Dispatch(s.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}))
	}
	dispatch()
	head, err := s.timeline.Head(s.ctx, room)
	s.ok(err)
	joined, err := s.timeline.At(s.ctx, room, head.Pos-1)
	s.ok(err)
	head.Pos++
	head.Version++
	head.Root = joined.Root
	for _, w := range []store.Write{
		store.Put(store.Rooms, timeline.EventKey(room, head.Pos), store.Encode(timeline.EventRow{Kind: timeline.KindState, Root: joined.Root})),
		store.Put(store.Rooms, timeline.HeadKey(room), store.Encode(head)),
	} {
		_, err := s.store.DB().Write(s.ctx, w)
		s.ok(err)
	}
	dispatch()
	for _, user := range []string{alice, bob} {
		if _, to := s.told(user, room); to != head.Pos {
			t.Errorf("%s was told up to %s of %s", user, to, head.Pos)
		}
	}
}

func TestAliases(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice, bob := s.register("alice"), s.register("bob")
	room := s.create(rooms.Creation{Creator: alice, Preset: "public_chat", AliasName: "lobby"})
	_, err := s.rooms.Create(s.ctx, rooms.Creation{Creator: bob, AliasName: "lobby"})
	s.refused(err, "M_ROOM_IN_USE")
	s.refused(s.rooms.AddAlias(s.ctx, bob, "#second:test", room), "M_FORBIDDEN")
	s.refused(s.rooms.AddAlias(s.ctx, alice, "#second:elsewhere", room), "M_INVALID_PARAM")
	s.ok(s.rooms.AddAlias(s.ctx, alice, "#second:test", room))
	s.refused(s.rooms.AddAlias(s.ctx, alice, "#second:test", room), "M_UNKNOWN")
	none := ""
	set := func(content string) error {
		_, err := s.rooms.SetState(s.ctx, room, rooms.Draft{Type: "m.room.canonical_alias", Sender: alice, StateKey: &none, Content: json.RawMessage(content)})
		return err
	}
	s.ok(set(`{"alias":"#lobby:test","alt_aliases":["#second:test"]}`))
	s.refused(set(`{"alias":"#nothing:test"}`), "M_BAD_ALIAS")
	s.refused(s.rooms.RemoveAlias(s.ctx, bob, "#lobby:test"), "M_FORBIDDEN")
	s.ok(s.rooms.RemoveAlias(s.ctx, alice, "#lobby:test"))
	aliases, err := s.rooms.AliasesOf(s.ctx, alice, room)
	s.ok(err)
	if fmt.Sprint(aliases) != "[#second:test]" {
		t.Errorf("aliases are %v", aliases)
	}
}

func TestRestrictedRoomsLetMembersOfAllowedRoomsIn(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
	club := s.create(rooms.Creation{Creator: alice, Preset: "public_chat"})
	room := s.create(rooms.Creation{Creator: alice, InitialState: []rooms.StateEvent{{
		Type: "m.room.join_rules", Content: json.RawMessage(`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"` + club + `"}]}`),
	}}})
	s.ok(s.rooms.Join(s.ctx, bob, club, ""))
	s.ok(s.rooms.Join(s.ctx, bob, room, ""))
	s.refused(s.rooms.Join(s.ctx, carol, room, ""), "M_FORBIDDEN")
}

// Messages that go together are answered each for itself: repeated ones with the
// event that they made, and those that are refused do not keep the others.
func TestMessagesThatGoTogetherAreAnsweredOneByOne(t *testing.T) {
	opt := local.NewMemory().Options()
	var commits atomic.Int64
	opt.Fault = func(c local.Call) local.Fault {
		if c.Op == local.OpTransact && commits.Add(1)%5 == 0 {
			return local.Conflict
		}
		return local.NoFault
	}
	s := open(t, opt)
	alice, bob := s.register("alice"), s.register("bob")
	room := s.create(rooms.Creation{Creator: alice})
	commits.Store(0)
	const writers, each = 40, 5
	type answer struct {
		id  string
		err error
	}
	answers := make([][2]answer, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		for second := range 2 { // every request comes twice, at the same time
			wg.Go(func() {
				for i := range each {
					n := w*each + i
					d := rooms.Draft{Type: "m.room.message", Sender: alice, Content: text(fmt.Sprint(n)), Txn: rooms.Txn{Device: "D", Endpoint: "send", ID: fmt.Sprint(n)}}
					if n%7 == 0 {
						d.Sender = bob // who is not in the room
					}
					sent, err := s.rooms.Send(s.ctx, room, d)
					answers[n][second] = answer{sent.ID, err}
				}
			})
		}
	}
	wg.Wait()
	made := map[string]bool{}
	for n, a := range answers {
		switch {
		case n%7 == 0:
			s.refused(a[0].err, "M_FORBIDDEN")
			s.refused(a[1].err, "M_FORBIDDEN")
		case a[0].err != nil || a[1].err != nil || a[0].id != a[1].id || made[a[0].id]:
			t.Fatalf("message %d: %v", n, a)
		default:
			made[a[0].id] = true
		}
	}
	head, err := s.timeline.Head(s.ctx, room)
	s.ok(err)
	rows, err := s.timeline.Range(s.ctx, room, 0, head.Pos, false, 0)
	s.ok(err)
	n := 0
	for _, r := range rows {
		if made[r.ID] {
			n++
		}
	}
	if n != len(made) {
		t.Errorf("%d of %d messages are in the room", n, len(made))
	}
	t.Logf("%d messages in %d transactions", n, commits.Load())
}
