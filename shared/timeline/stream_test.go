package timeline_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/timeline"
)

// stream reads all that is new after a token, answer by answer.
func (s *server) stream(user, from string) (events []event, end string) {
	s.t.Helper()
	for range 100 {
		resp, ready, err := s.timeline.Stream(s.ctx, viewer(user), timeline.SyncRequest{Since: from})
		s.ok(err)
		if ready != (len(resp.Chunk) > 0) || resp.Start != from {
			s.t.Errorf("an answer with %d events, ready %t, from %s", len(resp.Chunk), ready, resp.Start)
		}
		if !ready {
			return events, resp.End
		}
		events, from = append(events, s.events(resp.Chunk)...), resp.End
	}
	s.t.Fatal("the stream has no end")
	return nil, ""
}

// A stream tells of each event once, however much there is, and whether the log
// told of it at the time or has to catch up.
func TestAStreamTellsOfEachEventOnce(t *testing.T) {
	clock := new(ahead)
	s := openWith(t, local.NewMemory().Options(), clock)
	tea, coffee := s.create(), s.create()
	s.join(tea, bob)
	s.join(coffee, bob)
	all, err := s.timeline.InitialSync(s.ctx, viewer(bob), 10, false)
	s.ok(err)
	from := all.End
	for _, away := range []bool{false, true} {
		want := map[string][]string{}
		for i := range 70 { // more than an answer has
			for _, room := range []string{tea, coffee} {
				body := fmt.Sprint(i, away)
				s.say(room, alice, body)
				want[room] = append(want[room], body)
			}
		}
		if away {
			clock.pass(dormancy)
			for _, room := range []string{tea, coffee} {
				s.say(room, alice, "while he is away")
				want[room] = append(want[room], "while he is away")
			}
		}
		var events []event
		events, from = s.stream(bob, from)
		for _, room := range []string{tea, coffee} {
			var got []string
			for _, e := range events {
				if e.Room == room && e.Type == "m.room.message" {
					got = append(got, e.short())
				}
			}
			s.same(fmt.Sprintf("away %t", away), got, want[room])
		}
	}
}

// Who joins is told of what happens from then on, and of the rest when asked.
func TestAStreamBeginsWithTheJoin(t *testing.T) {
	s := open(t)
	room := s.create()
	s.say(room, alice, "long ago")
	start, _, err := s.timeline.Stream(s.ctx, viewer(bob), timeline.SyncRequest{})
	s.ok(err)
	s.ok(s.rooms.Invite(s.ctx, room, invitation(bob)))
	s.say(room, alice, "invited")
	s.join(room, bob)
	s.say(room, alice, "joined")
	s.ok(s.rooms.Leave(s.ctx, bob, room, ""))
	s.deliver(room)
	s.say(room, alice, "left")
	s.join(room, bob)
	s.say(room, alice, "came back")
	s.set(room, bob, "m.room.member", bob, `{"membership":"join","displayname":"Bob"}`)
	events, _ := s.stream(bob, start.End)
	var got []string
	for _, e := range events {
		if e.Type == "m.room.message" || e.Type == "m.room.member" {
			got = append(got, e.short())
		}
	}
	// One answer for all of it tells of the last stay.
	s.same("at once", got, []string{bob + " join", "came back", bob + " join"})
	room = s.create()
	var byOne []event
	end := start.End
	_, end = s.stream(bob, end)
	for _, do := range []func(){
		func() { s.ok(s.rooms.Invite(s.ctx, room, invitation(bob))) }, func() { s.say(room, alice, "invited") },
		func() { s.join(room, bob) }, func() { s.say(room, alice, "joined") }, func() { s.ok(s.rooms.Leave(s.ctx, bob, room, "")) },
		func() { s.say(room, alice, "left") },
	} {
		do()
		s.deliver(room)
		var some []event
		some, end = s.stream(bob, end)
		byOne = append(byOne, some...)
	}
	got = nil
	for _, e := range byOne {
		got = append(got, e.short())
	}
	s.same("one by one", got, []string{bob + " invite", bob + " join", "joined", bob + " leave"})
}

// A stranger who may read a room looks at it from time to time, as nobody wakes
// strangers.
func TestStrangersLookAgain(t *testing.T) {
	s := open(t)
	room := s.create(visibility("world_readable"))
	start, _, err := s.timeline.Peek(s.ctx, viewer(carol), room, "")
	s.ok(err)
	resp, ready, err := s.timeline.Peek(s.ctx, viewer(carol), room, start.End)
	s.ok(err)
	if ready || resp.LooksAgain().IsZero() || !slices.Contains(resp.WakeKeys(), "room "+room) {
		t.Errorf("nothing is new: ready %t, again at %s", ready, resp.LooksAgain())
	}
	s.say(room, alice, "hello")
	resp, ready, err = s.timeline.Peek(s.ctx, viewer(carol), room, resp.End)
	s.ok(err)
	s.same("then", s.bodies(resp.Chunk), []string{"hello"})
	if !ready {
		t.Error("it is not worth an answer")
	}
	resp, _, err = s.timeline.Peek(s.ctx, viewer(alice), room, resp.End)
	s.ok(err)
	if len(resp.Chunk) > 0 || !resp.LooksAgain().IsZero() {
		t.Errorf("a member is told of %d events, and looks again at %s", len(resp.Chunk), resp.LooksAgain())
	}
}
