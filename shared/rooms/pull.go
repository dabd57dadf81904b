package rooms

import (
	"context"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

const (
	// pullAbove is the usual Service.PullAbove.
	pullAbove = 500
	// recountEvery is how often the active members of a pulled room are counted,
	// which reads a row of each member.
	recountEvery = 24 * time.Hour
)

// goToPulled makes the room a pulled one; see timeline.Fan for the order of the
// steps. It may die between any two: the next fan-out, or the sweep, begins again
// with the first that is not done, and until the last is done entries are
// written as before.
func (s *Service) goToPulled(ctx context.Context, room string, head *timeline.Head, fan timeline.Fan) error {
	times := fan.Times
	if fan.State != timeline.StateGoing {
		going := store.Update(store.Server, timeline.FanKey(room)).Set("st", string(timeline.StateGoing)).Add("g", 1).
			If(store.NotEqual("st", string(timeline.StatePulled)))
		it, err := s.DB.Write(ctx, going)
		if store.Failed(err) != nil {
			return nil // somebody else did it
		}
		if err != nil {
			return fmt.Errorf("begin to pull %s: %w", room, err)
		}
		times = it.Int("g")
	}
	users, err := s.members(ctx, room, head)
	if err != nil {
		return err
	}
	if err := s.Log.Pull(ctx, room, users); err != nil {
		return err
	}
	pulled := store.Update(store.Server, timeline.FanKey(room)).
		Set("st", string(timeline.StatePulled)).Set("ct", clock.Millis(s.Clock.Now())).
		If(store.Equal("st", string(timeline.StateGoing)), store.Equal("g", times))
	if _, err := s.DB.Write(ctx, pulled); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("pull %s: %w", room, err)
	}
	return nil
}

func (s *Service) recount(fan timeline.Fan) bool {
	return s.Clock.Now().Sub(time.UnixMilli(fan.Counted)) > recountEvery
}

// backToPushed counts the active members of a pulled room. If they have become
// few, half as many as make a room a pulled one, entries are written again from
// now on; the members notice within an hour and stop looking. It returns how the
// room is now.
func (s *Service) backToPushed(ctx context.Context, room string, head *timeline.Head) (timeline.Fan, error) {
	users, err := s.members(ctx, room, head)
	if err != nil {
		return timeline.Fan{}, err
	}
	active, err := s.Log.Active(ctx, users)
	if err != nil {
		return timeline.Fan{}, err
	}
	w := store.Update(store.Server, timeline.FanKey(room)).If(store.Equal("st", string(timeline.StatePulled)))
	if len(active) <= s.PullAbove/2 {
		w = w.Remove("st", "ct")
	} else {
		w = w.Set("ct", clock.Millis(s.Clock.Now()))
	}
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
		return timeline.Fan{}, fmt.Errorf("count members of %s: %w", room, err)
	}
	return s.fan(ctx, room)
}
