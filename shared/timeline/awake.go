package timeline

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// awake counts the user as active because a device looks at the log. It reports
// whether it added to the log what happened while the user was dormant, so that
// the log has to be read again. See userlog.Activity for why nothing is lost.
func (s *Service) awake(ctx context.Context, user string, h userlog.Head) (added bool, err error) {
	a, err := s.Log.CheckIn(ctx, user, h.Activity)
	if err != nil || !a.Waking {
		return false, err
	}
	if err := s.catchUp(ctx, user); err != nil {
		return false, err
	}
	return true, s.Log.CaughtUp(ctx, user, a)
}

// catchUp makes the user's log tell of all joined rooms up to their heads. It
// costs two read units for each room, and writes only for those that moved.
func (s *Service) catchUp(ctx context.Context, user string) error {
	all, err := s.Log.Cursors(ctx, user)
	if err != nil {
		return err
	}
	var joined []userlog.Cursor
	var names []string
	for _, c := range all {
		if c.Membership == "join" {
			joined, names = append(joined, c), append(names, c.Room)
		}
	}
	if len(joined) == 0 {
		return nil
	}
	heads, err := s.heads(ctx, names)
	if err != nil {
		return err
	}
	behind, err := s.Log.Behind(ctx, user, joined)
	if err != nil {
		return err
	}
	return parallel(ctx, joined, func(ctx context.Context, c userlog.Cursor) error {
		if head := heads[c.Room]; head > c.To || behind[c.Room] {
			return s.Log.CatchUp(ctx, user, c.Room, head)
		}
		return nil
	})
}

// heads returns the last positions of those of the rooms that are there.
func (s *Service) heads(ctx context.Context, rooms []string) (map[string]Pos, error) {
	refs := make([]store.Ref, len(rooms))
	for i, room := range rooms {
		refs[i] = store.Ref{Table: store.Rooms, Key: HeadKey(room)}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	heads := make(map[string]Pos, len(items))
	for _, it := range items {
		h, err := decodeHead(it)
		if err != nil {
			return nil, err
		}
		if !h.Creating {
			heads[RoomOfPart(it.Key.Part)] = h.Pos
		}
	}
	return heads, nil
}
