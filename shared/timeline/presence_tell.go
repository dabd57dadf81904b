package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/userlog"
)

const (
	// presenceMembers is up to how many local members a room tells them of each
	// other's presence. In a larger one nobody looks at who is there, and each
	// change would cost a write for each of them.
	presenceMembers = 50
	// presenceRooms is in how many of a user's rooms others are told, those where
	// something happened last, and presenceAudience how many are.
	presenceRooms    = 50
	presenceAudience = 300
	// A user is told of tellBurst times at once, and then once in tellEvery.
	tellBurst = 20
	tellEvery = 30 * time.Second
	// tellLate is how much later than a turn its task comes, as clocks differ.
	tellLate = time.Second
)

// TellPresenceTask is the kind of a task that calls TellPresence.
const TellPresenceTask = "tell_presence"

// tellPresenceIn sends a task that is done after a time, or at once.
func (s *Service) tellPresenceIn(ctx context.Context, user string, delay time.Duration) error {
	body, err := json.Marshal(map[string]string{"kind": TellPresenceTask, "user": user})
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	if delay > 0 {
		delay = min(delay+tellLate, queue.MaxDelay)
	}
	if err := s.queues.Send(ctx, queue.Work, queue.Message{Body: string(body), Delay: delay}); err != nil {
		return fmt.Errorf("put off telling of %s: %w", user, err)
	}
	return nil
}

// TellsPresence is what TellPresence uses.
var TellsPresence = grant.Of(grant.ReadTable("rooms"), userlog.Appends, grant.SendTo("work"))

// TellPresence lets those who share a small room with the user, and the user's own
// devices, look at the user's presence, if it is not what they were told last. It is
// done at least once: told twice, they look twice.
func (s *Service) TellPresence(ctx context.Context, user string) error {
	for range presenceTries {
		it, err := s.presenceOf(ctx, user)
		if err != nil || !it.Exists() {
			return err
		}
		row, err := decodePresence(it)
		if err != nil {
			return err
		}
		now := s.Clock.Now()
		telling := row.telling(now)
		if telling == row.Told {
			return nil
		}
		if wait := row.Paid - clock.Millis(now); wait > 0 {
			return s.tellPresenceIn(ctx, user, time.Duration(wait)*time.Millisecond)
		}
		if err := s.appendPresence(ctx, user); err != nil {
			return err
		}
		row.Told = telling
		row.Paid = max(row.Paid, clock.Millis(now.Add(-tellBurst*tellEvery))) + tellEvery.Milliseconds()
		if failed, err := s.writePresence(ctx, user, it, row); failed == nil {
			return err
		}
	}
	return nil
}

// appendPresence names the user in the logs of the audience.
func (s *Service) appendPresence(ctx context.Context, user string) error {
	cursors, err := s.Log.Cursors(ctx, user)
	if err != nil {
		return err
	}
	rooms, err := s.audience(ctx, user, cursors)
	if err != nil {
		return err
	}
	rooms[user] = ""
	users := make([]string, 0, len(rooms))
	for u := range rooms {
		users = append(users, u)
	}
	active, err := s.Log.Active(ctx, users)
	if err != nil {
		return err
	}
	byRoom := map[string][]string{}
	for _, u := range active {
		byRoom[rooms[u]] = append(byRoom[rooms[u]], u)
	}
	for room, users := range byRoom {
		if err := s.Log.AppendAll(ctx, users, userlog.Entry{Kind: userlog.KindPresence, Room: room, Type: user}); err != nil {
			return err
		}
	}
	return nil
}

// audience returns whom a user with the cursors shares presence with, each with a
// room that both are in.
func (s *Service) audience(ctx context.Context, user string, cursors []userlog.Cursor) (map[string]string, error) {
	cursors = slices.DeleteFunc(slices.Clone(cursors), func(c userlog.Cursor) bool { return c.Membership != "join" })
	slices.SortFunc(cursors, func(a, b userlog.Cursor) int { return cmp.Compare(b.N, a.N) })
	cursors = cursors[:min(len(cursors), presenceRooms)]
	members := make([][]string, len(cursors))
	err := parallel(ctx, indexes(cursors), func(ctx context.Context, i int) (err error) {
		members[i], err = s.fewMembers(ctx, cursors[i].Room)
		return err
	})
	if err != nil {
		return nil, err
	}
	rooms := map[string]string{}
	for i, c := range cursors {
		for _, u := range members[i] {
			if _, there := rooms[u]; !there && u != user && len(rooms) < presenceAudience {
				rooms[u] = c.Room
			}
		}
	}
	return rooms, nil
}

// fewMembers lists the local members of a room, or nobody if it has many.
func (s *Service) fewMembers(ctx context.Context, room string) ([]string, error) {
	rows, err := s.stateRows(ctx, room, memberPre+Local+"#join#", presenceMembers+1)
	if err != nil || len(rows) > presenceMembers {
		return nil, err
	}
	users := make([]string, len(rows))
	for i, m := range rows {
		users[i] = m.StateKey
	}
	return users, nil
}
