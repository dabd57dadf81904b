package rooms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// FansOut is what Dispatch uses.
var FansOut = grant.Of(Writes, grant.WriteTable("server"), grant.SendTo("work"))

// Dispatch tells the members of rooms whose HEAD has changed. A change is only a
// hint: what there is to do is the distance between the room's cursor and its
// HEAD, so a change that is repeated, late or out of order does no harm. After
// an error the batch comes again.
func (s *Service) Dispatch(ctx context.Context, changes []store.Change) error {
	done := map[string]bool{}
	for _, c := range changes {
		if c.Key.Sort != timeline.HeadSort || c.Expired || done[c.Key.Part] {
			continue
		}
		done[c.Key.Part] = true
		if err := s.fanOut(ctx, timeline.RoomOfPart(c.Key.Part)); err != nil {
			return err
		}
	}
	return nil
}

// fanOut brings what happened in a room up to its HEAD, as it is when it is read,
// to the room's local members: what comes after has a change of its own. Two at
// once do the same work twice and write nothing twice, since each log takes a
// position once; so there is no lease.
//
// HEAD is read before anything else, which userlog.Activity and timeline.Fan
// rely on.
func (s *Service) fanOut(ctx context.Context, room string) error {
	head, err := s.Timeline.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil // not open yet, or gone
	}
	if err != nil {
		return err
	}
	if head, err = s.keepUp(ctx, room, head); err != nil {
		return err
	}
	fan, err := s.fan(ctx, room)
	if err != nil {
		return err
	}
	if fan.Done >= head.Pos && fan.State != timeline.StateGoing {
		s.indexWords(ctx, room, head, fan)
		return nil
	}
	own, err := s.ownChanges(ctx, room, fan, head)
	if err != nil {
		return err
	}
	if fan.State == timeline.StatePulled && s.recount(fan) {
		if fan, err = s.backToPushed(ctx, room, head); err != nil {
			return err
		}
	}
	if fan.State == timeline.StatePulled {
		err = s.tellPulled(ctx, room, fan, own, head)
	} else {
		err = s.tellPushed(ctx, room, fan, own, head)
	}
	if err != nil {
		return err
	}
	if err := s.inherit(ctx, room, own, head); err != nil {
		return err
	}
	if err := s.forgetLeft(ctx, room, own); err != nil {
		return err
	}
	if !bytes.Equal(fan.Root, head.Root) || head.Stripped > fan.Done {
		if err := s.relist(ctx, room); err != nil {
			return err
		}
	}
	w := store.Update(store.Server, timeline.FanKey(room)).Set("done", int64(head.Pos)).Set("root", head.Root).
		If(store.AnyOf(store.Absent("done"), store.Less("done", int64(head.Pos))))
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("move fan-out of %s: %w", room, err)
	}
	s.indexWords(ctx, room, head, fan)
	return nil
}

func (s *Service) fan(ctx context.Context, room string) (timeline.Fan, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: timeline.FanKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return timeline.Fan{}, nil
	}
	if err != nil {
		return timeline.Fan{}, fmt.Errorf("read fan-out of %s: %w", room, err)
	}
	_, fan, err := timeline.FanOf(it)
	return fan, err
}

// ownChanges lists the local users whose own membership changed since the last
// fan-out, by an event or without one, or was said again, with the event that says
// it now, or "". They are told of that whatever else is told to whom.
func (s *Service) ownChanges(ctx context.Context, room string, fan timeline.Fan, head *timeline.Head) (map[string]string, error) {
	was := timeline.RootOf(fan.Root)
	if fan.Root == nil && fan.Done != 0 {
		var err error
		if was, err = s.Timeline.RootAt(ctx, room, fan.Done); err != nil {
			return nil, err
		}
	}
	changes, err := trie.Diff(ctx, s.Timeline.Loader(room), room, was, head.CurrentRoot())
	if err != nil {
		return nil, fmt.Errorf("compare states of %s: %w", room, err)
	}
	own := map[string]string{}
	for _, c := range changes {
		if c.Type == typeMember && s.isLocal(c.StateKey) {
			own[c.StateKey] = c.New
		}
	}
	return own, nil
}

// members lists the local users who are in the room.
func (s *Service) members(ctx context.Context, room string, head *timeline.Head) ([]string, error) {
	rows, err := s.Timeline.LocalMembers(ctx, room, head)
	return usersOf(rows), err
}

func usersOf(members []timeline.StateRow) []string {
	users := make([]string, len(members))
	for i, m := range members {
		users[i] = m.StateKey
	}
	return users
}

// tellPushed writes to the logs of the active members. The others learn of it
// when they wake: who is active is read after HEAD, see userlog.Activity. In a
// process that just started that is a read for each member. (data-model.md would
// list the active members of large rooms in ACT# rows. They would save the reads
// of the dormant ones, and cost writes in each large room of a user who wakes, and
// a change of regime as the room grows; worth it once rooms of hundreds, most of
// them dormant, are common.)
func (s *Service) tellPushed(ctx context.Context, room string, fan timeline.Fan, own map[string]string, head *timeline.Head) error {
	members, err := s.Timeline.LocalMembers(ctx, room, head)
	if err != nil {
		return err
	}
	active, err := s.Log.Active(ctx, usersOf(members))
	if err != nil {
		return err
	}
	audience := make(map[string]timeline.Pos, len(active)+len(own))
	for user := range own {
		audience[user] = 0 // the user's own last transition
	}
	for _, user := range active {
		audience[user] = head.Pos
	}
	if err := s.moved(ctx, room, fan.Done, audience, s.Timeline.Unread(room).Knows(head, members)); err != nil {
		return err
	}
	if fan.State == timeline.StateGoing || len(active) > s.PullAbove {
		return s.goToPulled(ctx, room, head, fan)
	}
	return nil
}

// tellPulled wakes those who wait, once for the room, and writes to the logs of
// those alone whose membership changed, or whose pushers have something to send.
func (s *Service) tellPulled(ctx context.Context, room string, fan timeline.Fan, own map[string]string, head *timeline.Head) error {
	unread := s.Timeline.Unread(room)
	audience, err := s.phones(ctx, room, fan, head, unread)
	if err != nil {
		return err
	}
	ids := slices.DeleteFunc(slices.Collect(maps.Values(own)), func(eventID string) bool { return eventID == "" })
	views, err := s.Timeline.ViewsByID(ctx, ids)
	if err != nil {
		return err
	}
	var joined []string
	for user, eventID := range own {
		audience[user] = max(audience[user], 0) // at least the user's own last transition
		if v := views[eventID]; v != nil && v.Content.Membership == "join" {
			joined = append(joined, user)
		}
	}
	if err := s.moved(ctx, room, fan.Done, audience, unread); err != nil {
		return err
	}
	if err := s.Log.Pull(ctx, room, joined); err != nil {
		return err
	}
	return s.Log.Waker.Wake(ctx, userlog.RoomWakeKey(room))
}

// moved writes to the logs of users, and lets the pushers of those whom it notifies
// send that. A log that was written by one who died then is found here again: the
// change that began it comes until it is done.
func (s *Service) moved(ctx context.Context, room string, since timeline.Pos, audience map[string]timeline.Pos, unread *timeline.Unread) error {
	users, err := s.Log.MovedAll(ctx, room, since, audience, unread)
	if err != nil {
		return err
	}
	slices.Sort(users)
	for some := range slices.Chunk(slices.Compact(users), maxTaskUsers) {
		if err := s.later(ctx, Task{Kind: PushTask, Users: some}, 0); err != nil {
			return err
		}
	}
	return nil
}
