package timeline_test

import (
	"testing"

	"github.com/virga-im/virga/shared/rooms"
)

func (s *server) redact(room, user, event string) {
	s.t.Helper()
	_, err := s.rooms.Redact(s.ctx, room, event, "", user, rooms.Txn{})
	s.ok(err)
	s.deliver(room)
}

// unread is what a new client of a user is told of a room.
func (s *server) unread(user, room string) int {
	s.t.Helper()
	return s.sync(user, "", "").Rooms.Join[room].UnreadNotifications.Notification
}

func TestWhatTheUserRedactsIsNotUnread(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.sync(alice, "", "")
	slip := s.say(room, bob, "a slip")
	s.say(room, bob, "hello")
	s.redact(room, alice, slip)
	if n := s.unread(alice, room); n != 1 {
		t.Errorf("%d are unread, not 1", n)
	}
}

// Who answered has read what was before, also if the answer is gone.
func TestARedactedAnswerHasBeenGiven(t *testing.T) {
	s := open(t)
	room := s.create()
	s.join(room, bob)
	s.sync(alice, "", "")
	s.say(room, bob, "hello", "again")
	answer := s.say(room, alice, "yes?")
	s.say(room, bob, "sugar?")
	slip := s.say(room, bob, "a slip")
	s.redact(room, alice, answer)
	s.redact(room, bob, slip)
	if n := s.unread(alice, room); n != 1 {
		t.Errorf("%d are unread, not 1", n)
	}
}
