package timeline_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/userlog"
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

// reply says something in the thread of an event.
func (s *server) reply(room, user, root string) string {
	s.t.Helper()
	sent, err := s.relate(room, user, "m.thread", root, "")
	s.ok(err)
	s.deliver(room)
	return sent.ID
}

// receipt is how far a user has read a thread, or "" for the room.
func (s *server) receipt(user, room, thread, event string) {
	s.t.Helper()
	s.ok(s.rooms.SetReceipts(s.ctx, user, room, []rooms.Receipt{{Type: rooms.Read, EventID: event, Thread: thread}}))
}

// Of many threads the counts of some are kept together.
func TestAThreadIsReadAsAWholeAmongManyThreads(t *testing.T) {
	const threads = 25
	s := open(t)
	s.rooms.Queues = new(putOff)
	room := s.create()
	s.join(room, bob)
	s.sync(alice, "", "")
	var roots []string
	for range threads {
		roots = append(roots, s.say(room, alice, "a root"))
	}
	for _, root := range roots {
		s.reply(room, bob, root)
	}
	for i := range 3 {
		again := s.reply(room, bob, roots[i])
		s.receipt(alice, room, roots[i], again)
		if n, want := s.unread(alice, room), threads-1-i; n != want {
			t.Errorf("after %d threads are read, %d are unread, not %d", i+1, n, want)
		}
	}
}

// A receipt may come before the log tells of what it covers, and others meanwhile.
func TestAReceiptAheadOutlivesAnotherThreadsReceipt(t *testing.T) {
	s := open(t)
	s.rooms.Queues = new(putOff)
	room := s.create()
	s.join(room, bob)
	s.sync(alice, "", "")
	first, second := s.say(room, alice, "one"), s.say(room, alice, "two")
	read := s.reply(room, bob, second)
	s.reply(room, bob, second)
	sent, err := s.relate(room, bob, "m.thread", first, "") // not told yet
	s.ok(err)
	s.receipt(alice, room, first, sent.ID)
	s.receipt(alice, room, second, read)
	s.deliver(room)
	if n := s.unread(alice, room); n != 1 {
		t.Errorf("%d are unread, not 1", n)
	}
}

// What the user does meanwhile moves the log on, and sends nothing to pushers.
func TestWhatTheUserDoesMeanwhileHidesNothingFromPushers(t *testing.T) {
	s, q := open(t), new(putOff)
	s.rooms.Queues = q
	room := s.create()
	s.join(room, bob)
	s.sync(alice, "", "")
	one := s.say(room, alice, "one")
	_, err := s.db.Write(s.ctx, userlog.PusherSet(alice, 1))
	s.ok(err)
	q.sent = nil
	_, err = s.rooms.Send(s.ctx, room, message(bob, "two"))
	s.ok(err)
	for range 2 { // in a thread, so that the message is still unread
		_, err = s.relate(room, alice, "m.thread", one, "")
		s.ok(err)
	}
	s.deliver(room)
	hinted := slices.ContainsFunc(q.sent, func(m queue.Message) bool {
		var task rooms.Task
		s.ok(json.Unmarshal([]byte(m.Body), &task))
		return task.Kind == rooms.PushTask && slices.Contains(task.Users, alice)
	})
	if n := s.unread(alice, room); n != 1 || !hinted {
		t.Errorf("%d are unread, and that the pushers are told of it is %v", n, hinted)
	}
	// Nothing is left to be told of.
	q.sent = nil
	_, err = s.relate(room, alice, "m.thread", one, "")
	s.ok(err)
	s.deliver(room)
	if len(q.sent) != 0 {
		t.Errorf("there are tasks: %v", q.sent)
	}
}
