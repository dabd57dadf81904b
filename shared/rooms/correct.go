package rooms

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// CorrectState makes the states after forward extremities of a room what they
// turned out to be: after holds the ids of all state events after each of them, by
// its id; the events have to be known. If the current state changes by that, it
// does so at a position of its own, of kind timeline.KindState, and whoever is
// concerned is told as of any other change.
//
// Events that are no forward extremities any more are left out. It may be
// repeated.
func (s *Service) CorrectState(ctx context.Context, room string, after map[string][]string) error {
	defer s.lock(room)()
	for try := range maxTries {
		err := s.correctOnce(ctx, room, after)
		if store.Failed(err) == nil && !busy(err) {
			return err
		}
		if err := s.pause(ctx, try); err != nil {
			return err
		}
	}
	return errBusy
}

func (s *Service) correctOnce(ctx context.Context, room string, after map[string][]string) error {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return &unknownRoom{err}
	}
	b, err := s.newBatch(ctx, room, head)
	if err != nil {
		return err
	}
	changed := false
	for i, x := range b.exts {
		ids, ok := after[x.ID]
		if !ok {
			continue
		}
		root, err := b.stateOf(ctx, ids)
		if err != nil {
			return err
		}
		if root == x.After() {
			continue
		}
		changed = true
		b.exts[i].Root = root[:]
		b.spilled[x.ID] = false // its row is to be written again
		b.writes = append(b.writes, store.Update(store.Events, timeline.IndexKey(x.ID)).Set("ra", root[:]).If(store.Exists()))
	}
	if !changed {
		return nil
	}
	if err := b.restate(ctx); err != nil {
		return err
	}
	if err := b.commit(ctx); err != nil {
		return fmt.Errorf("correct state of %s: %w", room, err)
	}
	return nil
}

// restate makes the current state that of the forward extremities, which changed
// without an event that takes a position: if it changes, it does so at a position
// of its own.
func (b *batch) restate(ctx context.Context) error {
	was := b.head.CurrentRoot()
	if err := b.moveState(ctx, nil); err != nil || b.head.CurrentRoot() == was {
		return err
	}
	b.nextPos(nil)
	row := timeline.EventRow{Kind: timeline.KindState, RoomVersion: b.v.ID, Root: b.head.Root, Visibility: b.head.Visibility}
	b.writes = append(b.writes, store.Put(store.Rooms, timeline.EventKey(b.room, b.head.Pos), store.Encode(row)).If(store.NotExists()))
	return b.finish(ctx)
}
