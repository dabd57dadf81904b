package rooms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// FansOut is what Dispatch uses.
var FansOut = grant.Of(grant.ReadTable("rooms"), userlog.Appends, grant.ReadTable("server"), grant.WriteTable("server"))

const fanPre = "FAN#"

func fanKey(room string) store.Key { return store.Key{Part: fanPre + room, Sort: "FAN"} }

func roomOfFan(part string) string { return strings.TrimPrefix(part, fanPre) }

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

// fanOut brings the logs of a room's local members up to its HEAD as it is when
// it is read: what comes after has a change of its own. Two at once do the same
// work twice and write nothing twice, since each log takes a position once; so
// there is no lease.
func (s *Service) fanOut(ctx context.Context, room string) error {
	head, err := s.Timeline.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil // not open yet, or gone
	}
	if err != nil {
		return err
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: fanKey(room)}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read fan-out of %s: %w", room, err)
	}
	done := timeline.Pos(it.Int("done"))
	if done >= head.Pos {
		return nil
	}
	audience, err := s.audience(ctx, room, done, head.Pos)
	if err != nil {
		return err
	}
	if err := s.Log.MovedAll(ctx, room, audience); err != nil {
		return err
	}
	w := store.Update(store.Server, fanKey(room)).Set("done", int64(head.Pos)).
		If(store.AnyOf(store.Absent("done"), store.Less("done", int64(head.Pos))))
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("move fan-out of %s: %w", room, err)
	}
	return nil
}

// audience lists whom the positions in (from, to] concern, and up to where:
// those whose own membership event is among them, up to that, and the active
// ones of those who are in the room. The others learn of it when they wake: who
// is active is read after HEAD, see userlog.Activity.
func (s *Service) audience(ctx context.Context, room string, from, to timeline.Pos) (map[string]timeline.Pos, error) {
	audience := map[string]timeline.Pos{}
	rows, err := s.Timeline.Range(ctx, room, from, to, false, 0)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		if e.Type == typeMember && e.StateKey != nil && s.isLocal(*e.StateKey) {
			audience[*e.StateKey] = r.Pos
		}
	}
	members, err := s.Timeline.Members(ctx, room, timeline.Local, "join")
	if err != nil {
		return nil, err
	}
	users := make([]string, len(members))
	for i, m := range members {
		users[i] = m.StateKey
	}
	active, err := s.Log.Active(ctx, users)
	if err != nil {
		return nil, err
	}
	for _, user := range active {
		audience[user] = to
	}
	return audience, nil
}
