package rooms

import (
	"context"

	"github.com/virga-im/virga/shared/timeline"
)

// phones is what a process remembers of a pulled room: who of the members was asked
// for pushers, and who has some, as of a number of wakes. To ask takes a read for
// each member; who gets the first pusher later is in the log of wakes.
type phones struct {
	wakes int64
	asked map[string]bool // whether there is one
}

// maxPhones is of how many rooms phones are remembered.
const maxPhones = 30

// phones returns the members of a pulled room whom something since the last fan-out
// notifies, if they have a pusher: their logs are written, since that is what
// pushers send. It reads the members with pushers, for the version of their
// settings, and those of whom it knows nothing.
func (s *Service) phones(ctx context.Context, room string, fan timeline.Fan, head *timeline.Head, unread *timeline.Unread) (map[string]timeline.Pos, error) {
	members, err := s.Timeline.LocalMembers(ctx, room, head)
	if err != nil {
		return nil, err
	}
	s.box.Lock()
	was := s.pushed[room]
	s.box.Unlock()
	since := was.wakes
	if was.asked == nil {
		since = -1 // all are asked
	}
	woken, wakes, err := s.Log.WokenSince(ctx, since)
	if err != nil {
		return nil, err
	}
	if woken == nil {
		was.asked = nil // that is too long ago
	}
	now := phones{wakes, make(map[string]bool, len(members))}
	var ask []string
	for _, m := range members {
		user := m.StateKey
		has, known := was.asked[user]
		if now.asked[user] = has; has || !known || woken[user] {
			ask = append(ask, user)
		}
	}
	users, err := s.Log.WithPushers(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, user := range ask {
		_, now.asked[user] = users[user]
	}
	s.box.Lock()
	if len(s.pushed) >= maxPhones {
		clear(s.pushed)
	}
	s.pushed[room] = now
	s.box.Unlock()
	unread.Knows(head, members)
	audience := map[string]timeline.Pos{}
	for user, version := range users {
		notifies, err := unread.Notifies(ctx, user, version, fan.Done, head.Pos)
		if err != nil {
			return nil, err
		}
		if notifies {
			audience[user] = head.Pos
		}
	}
	return audience, nil
}
