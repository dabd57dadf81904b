package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

// current makes the user's log tell all that there is to tell: what happened
// while the user was dormant, and what happened in pulled rooms. h is what was
// read of the log; current reports whether it has to be read again. See
// userlog.Activity and Fan for why nothing is lost.
func (s *Service) current(ctx context.Context, user string, h userlog.Head) (added bool, err error) {
	a, err := s.Log.CheckIn(ctx, user, h.Activity)
	if err != nil {
		return false, err
	}
	if a.Waking {
		if err := s.catchUp(ctx, user, h); err != nil {
			return false, err
		}
		if err := s.Log.CaughtUp(ctx, user, a); err != nil {
			return false, err
		}
	}
	added, err = s.pull(ctx, user, h, a != h.Activity)
	return added || a.Waking, err
}

// catchUp makes the user's log tell of all joined rooms up to their heads, and the
// user watch those where others type. It costs four read units for each room, and
// writes only for those that moved.
func (s *Service) catchUp(ctx context.Context, user string, h userlog.Head) error {
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
	behind, err := s.Log.Behind(ctx, user, h, joined)
	if err != nil {
		return err
	}
	err = parallel(ctx, joined, func(ctx context.Context, c userlog.Cursor) error {
		if head := heads[c.Room]; head > c.To || behind[c.Room] {
			return s.Log.CatchUp(ctx, user, c.Room, head, s.Unread(c.Room))
		}
		return s.catchUpReceipts(ctx, user, h.Activity, c)
	})
	if err != nil {
		return err
	}
	return s.watchTyping(ctx, user, names)
}

// catchUpReceipts makes the user's log tell of the receipts that others have set
// in a room while the user was dormant, if nothing was said there since: with a
// message they would be told of. a is the user's activity of before.
func (s *Service) catchUpReceipts(ctx context.Context, user string, a userlog.Activity, c userlog.Cursor) error {
	if a.Until.IsZero() && !a.Waking {
		return nil // no device knows anything yet
	}
	recent, err := s.RecentReceipts(ctx, c.Room, c.To, end)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(recent, func(r Receipts) bool {
		// A device that died while it caught up has left no trace of when it began.
		return r.User != user && (a.Waking || r.TS >= clock.Millis(a.Until))
	}) {
		return nil
	}
	_, err = s.Log.Append(ctx, user, userlog.Entry{Kind: userlog.KindReceipts, Room: c.Room, From: c.To})
	return err
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

// now is the end of the user's log, which then tells all there is.
func (s *Service) now(ctx context.Context, user string) (userlog.Head, error) {
	h, err := s.Log.Head(ctx, user)
	if err != nil {
		return h, err
	}
	if added, err := s.current(ctx, user, h); err != nil || !added {
		return h, err
	}
	return s.Log.Head(ctx, user)
}

// page reads what the log tells after a token, and reports whether the user was
// dormant: then it does not tell of presence.
func (y *syncing) page(ctx context.Context, since token.Sync) (page userlog.Page, dormant bool, err error) {
	page, err = y.s.Log.After(ctx, y.User, since.N, y.req.stream)
	if err != nil {
		return page, false, err
	}
	if n := y.req.stream; n > 0 && len(page.Entries) == n {
		// There is more, and the end was not read, which knows the generation.
		h, err := y.s.Log.Head(ctx, y.User)
		page.Head.Epoch = h.Epoch
		return page, false, err
	}
	if since.Epoch != page.Head.Epoch {
		// The number in the token is that of another log: it may be beyond the end.
		h, err := y.s.now(ctx, y.User)
		if err != nil {
			return page, false, err
		}
		aside, err := y.s.Log.Aside(ctx, y.User)
		return userlog.Page{Head: h, Gap: true, Aside: aside}, true, err
	}
	dormant = page.Head.Waking || !y.s.Clock.Now().Before(page.Head.Until)
	added, err := y.s.current(ctx, y.User, page.Head)
	if err != nil || !added {
		return page, dormant, err
	}
	page, err = y.s.Log.After(ctx, y.User, since.N, y.req.stream)
	return page, dormant, err
}
