package rooms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// moveRows makes the rows of the current state, and the cursors of local members,
// show a change of state that was too large for the transaction that made it. It
// says so in HEAD first, so that nobody takes rows that are half moved for a state,
// and writes nothing that may not be written twice: a move that was killed goes on
// from its beginning.
func (s *Service) moveRows(ctx context.Context, room string) error {
	for {
		head, err := s.Timeline.Head(ctx, room)
		if mxerr.Is(err, "M_NOT_FOUND") {
			return nil
		}
		if err != nil || head.RowsCurrent() {
			return err
		}
		if head.RowsTo == nil {
			begin := store.Update(store.Rooms, timeline.HeadKey(room)).
				Set("to", head.Root).Set("mv", head.Version).Set(timeline.HeadVersion, head.Version+1).
				If(store.Equal(timeline.HeadVersion, head.Version))
			if _, err := s.DB.Write(ctx, begin); err != nil && store.Failed(err) == nil {
				return fmt.Errorf("begin to move rows of %s: %w", room, err)
			}
			continue
		}
		if err := s.moveRowsTo(ctx, room, head); err != nil {
			return err
		}
		for moving := head.RowsMove; head.RowsMove == moving; {
			end := store.Update(store.Rooms, timeline.HeadKey(room)).
				Set("rows", head.RowsTo).Remove("to", "mv").Set(timeline.HeadVersion, head.Version+1).
				If(store.Equal(timeline.HeadVersion, head.Version))
			if _, err = s.DB.Write(ctx, end); err == nil {
				break
			}
			if store.Failed(err) == nil {
				return fmt.Errorf("end to move rows of %s: %w", room, err)
			}
			if head, err = s.Timeline.Head(ctx, room); err != nil {
				return err
			}
		}
	}
}

// moveRowsTo writes what differs between the two states of a move.
func (s *Service) moveRowsTo(ctx context.Context, room string, head *timeline.Head) error {
	b, err := s.newBatch(ctx, room, head)
	if err != nil {
		return err
	}
	from, to := timeline.RootOf(head.RowsRoot), timeline.RootOf(head.RowsTo)
	changes, err := trie.Diff(ctx, b.loader(), room, from, to)
	if err != nil {
		return fmt.Errorf("compare states of %s: %w", room, err)
	}
	moved, err := b.details(ctx, changes)
	if err != nil {
		return err
	}
	writes := map[store.Key]store.Write{}
	servers := map[string]int64{}
	var cursors []stateChange
	for _, c := range moved {
		maps.Copy(writes, s.stateRows(room, c))
		if c.Type != typeMember || c.was == c.is {
			continue
		}
		if c.is == "join" {
			servers[id.Server(c.StateKey)]++
		}
		if c.was == "join" {
			servers[id.Server(c.StateKey)]--
		}
		if s.isLocal(c.StateKey) {
			cursors = append(cursors, c)
		}
	}
	if err := s.writeRows(ctx, room, head, slices.Collect(maps.Values(writes))); err != nil {
		return err
	}
	for server, n := range servers {
		// A count is not written twice for one move.
		w := store.Update(store.Rooms, timeline.ServerKey(room, server)).
			Add("n", n).Set("mv", head.RowsMove).If(store.NotEqual("mv", head.RowsMove))
		if err := s.writeRows(ctx, room, head, []store.Write{w}); err != nil {
			return err
		}
	}
	for _, c := range cursors {
		if err := s.moveCursor(ctx, b, c); err != nil {
			return err
		}
	}
	return nil
}

// writeRows makes writes of a move, on the condition that it is still going on:
// somebody else may have ended it, and rows have changed since.
func (s *Service) writeRows(ctx context.Context, room string, head *timeline.Head, ws []store.Write) error {
	moving := store.Check(store.Rooms, timeline.HeadKey(room), store.Equal("mv", head.RowsMove))
	for part := range slices.Chunk(ws, store.MaxTransact/2) {
		for try := 0; ; try++ {
			err := s.DB.Transact(ctx, append([]store.Write{moving}, part...)...)
			if err == nil || store.Failed(err) != nil {
				break // written, by somebody or by us
			}
			if !busy(err) || try == maxTries {
				return fmt.Errorf("move rows of %s: %w", room, err)
			}
			if err := s.pause(ctx, try); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveCursor records a local user's change of membership, unless the cursor has
// it already.
func (s *Service) moveCursor(ctx context.Context, b *batch, c stateChange) error {
	for range maxTries {
		cursor, err := s.Log.Cursor(ctx, c.StateKey, b.room)
		if err != nil || cursor.Membership == c.is {
			return err
		}
		_, err = s.DB.Write(ctx, userlog.MembershipChanged(c.StateKey, cursor, b.transition(c)))
		if store.Failed(err) == nil {
			return err
		}
	}
	return errors.New("others were always faster")
}
