package rooms

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline"
)

// keepUp does what a room's writers have left to do: it moves the rows of a change
// of state that no transaction could hold, and joins forward extremities that are
// too many. It returns the HEAD after that.
func (s *Service) keepUp(ctx context.Context, room string, head *timeline.Head) (*timeline.Head, error) {
	tangled := len(head.Extremities)+int(head.Spilled) > maxCited
	if head.RowsCurrent() && !tangled {
		return head, nil
	}
	if err := s.moveRows(ctx, room); err != nil {
		return nil, err
	}
	if tangled {
		if err := s.joinForks(ctx, room, head); err != nil {
			return nil, err
		}
	}
	return s.Timeline.Head(ctx, room)
}

// joinForks sends an event that follows forward extremities and says nothing, for
// some local user who may. Where nobody may, they stay.
func (s *Service) joinForks(ctx context.Context, room string, head *timeline.Head) error {
	members, err := s.Timeline.Members(ctx, room, head, timeline.Local, "join")
	if err != nil {
		return err
	}
	state, err := s.Timeline.Views(ctx, room, head.CurrentRoot(), []auth.Key{createKey, levelsKey})
	if err != nil {
		return err
	}
	levels := auth.Levels(head.V(), state)
	for _, m := range members {
		if !levels.CanSend(m.StateKey, timeline.TypeDummy, false) {
			continue
		}
		_, err := s.append(ctx, room, m.StateKey, func(ctx context.Context, b *batch) error {
			if len(b.exts) <= maxCited {
				return nil // somebody else has
			}
			return b.add(ctx, Draft{Type: timeline.TypeDummy, Sender: m.StateKey, Content: json.RawMessage("{}")})
		})
		if err != nil && mxerr.As(err) == nil {
			return err
		}
		return nil
	}
	return nil
}
