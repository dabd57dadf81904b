package rooms

import (
	"context"
	"errors"
	"fmt"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// maxSwept is how many rooms a run of SweepFanOut looks at: it bounds what an
// idle server pays.
const maxSwept = 1000

// SweepFanOut tells the members of rooms whose fan-out lags behind HEAD: the
// change that should have driven it was lost, or was too old when somebody could
// read it again. A room that cannot be told now does not keep the others.
func (s *Service) SweepFanOut(ctx context.Context) error {
	var swept int
	var errs []error
	err := s.eachRoom(ctx, "fan_out", func(ctx context.Context, rows []store.Item) (bool, error) {
		lagging, err := s.lagging(ctx, rows)
		if err != nil {
			return false, err
		}
		for _, room := range lagging {
			if err := s.fanOut(ctx, room); err != nil {
				errs = append(errs, fmt.Errorf("sweep %s: %w", room, err))
			}
		}
		swept += len(rows)
		return swept >= maxSwept, ctx.Err()
	})
	return errors.Join(append(errs, err)...)
}

// lagging returns those of the rooms whose fan-out has something to do. The
// reads are eventual, at half the price: what is missed now is found by the next
// round, and what is too much does nothing.
func (s *Service) lagging(ctx context.Context, rows []store.Item) (lagging []string, err error) {
	refs := make([]store.Ref, 0, 2*len(rows))
	for _, row := range rows {
		refs = append(refs,
			store.Ref{Table: store.Rooms, Key: timeline.HeadKey(row.Key.Sort)},
			store.Ref{Table: store.Server, Key: timeline.FanKey(row.Key.Sort)})
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Eventual)
	if err != nil {
		return nil, fmt.Errorf("compare fan-outs: %w", err)
	}
	heads, fans := map[string]timeline.Pos{}, map[string]timeline.Fan{}
	for _, it := range items {
		if it.Key.Sort == timeline.HeadSort {
			heads[timeline.RoomOfPart(it.Key.Part)] = timeline.Pos(it.Int("pos"))
			continue
		}
		room, fan, err := timeline.FanOf(it)
		if err != nil {
			return nil, err
		}
		fans[room] = fan
	}
	for _, row := range rows {
		room := row.Key.Sort
		fan := fans[room]
		if fan.Done < heads[room] || fan.State == timeline.StateGoing || indexLag(heads[room], fan) >= 2*timeline.IndexStep {
			lagging = append(lagging, room)
		}
	}
	return lagging, nil
}
