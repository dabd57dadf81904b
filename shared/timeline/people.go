package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

const (
	// maxCandidates is how many of the users that a search finds it looks at
	// closer, and MaxFound the most that it answers.
	maxCandidates = 100
	MaxFound      = 50
	// maxPublic is in how many rooms of a stranger a search looks for a public one.
	maxPublic = 50
)

// FindUsers searches for users whom a user may know of: those who share a room with
// the user, and those who are in a room that is public or that everybody may read.
// limited is true if there may be more than the limit, or than a search looks at.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (s *Service) FindUsers(ctx context.Context, user, term string, limit int) (found []accounts.Found, limited bool, err error) {
	limit = min(max(limit, 0), MaxFound)
	candidates, all, err := s.Accounts.Find(ctx, term)
	if err != nil || len(candidates) == 0 {
		return nil, !all, err
	}
	own, err := s.joinedRooms(ctx, user)
	if err != nil {
		return nil, false, err
	}
	if limited = !all || len(candidates) > maxCandidates; len(candidates) > maxCandidates {
		candidates = candidates[:maxCandidates]
	}
	public := map[string]bool{}
	for i := 0; i < len(candidates); i += limit + 1 {
		some := candidates[i:min(i+limit+1, len(candidates))]
		known := make([]bool, len(some))
		rooms := make([][]string, len(some))
		err := parallel(ctx, indexes(some), func(ctx context.Context, j int) (err error) {
			rooms[j], err = s.joinedRooms(ctx, some[j].User)
			known[j] = some[j].User != user && slices.ContainsFunc(rooms[j], func(room string) bool { return has(own, room) })
			return err
		})
		if err != nil {
			return nil, false, err
		}
		for j, c := range some {
			if !known[j] {
				if known[j], err = s.anyPublic(ctx, rooms[j][:min(len(rooms[j]), maxPublic)], public); err != nil {
					return nil, false, err
				}
			}
			if !known[j] {
				continue
			}
			if len(found) == limit {
				return found, true, nil
			}
			found = append(found, c)
		}
	}
	return found, limited, nil
}

func indexes[T any](list []T) []int {
	is := make([]int, len(list))
	for i := range is {
		is[i] = i
	}
	return is
}

// has reports whether a sorted list has the string.
func has(sorted []string, s string) bool { _, ok := slices.BinarySearch(sorted, s); return ok }

// joinedRooms lists the rooms that a local user is in, sorted.
func (s *Service) joinedRooms(ctx context.Context, user string) ([]string, error) {
	cursors, err := s.Log.Cursors(ctx, user)
	if err != nil {
		return nil, err
	}
	cursors = slices.DeleteFunc(cursors, func(c userlog.Cursor) bool { return c.Membership != "join" })
	rooms := make([]string, len(cursors))
	for i, c := range cursors {
		rooms[i] = c.Room
	}
	slices.Sort(rooms)
	return rooms, nil
}

// MutualRooms lists the rooms that both users are in, sorted.
//
// https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
func (s *Service) MutualRooms(ctx context.Context, user, other string) ([]string, error) {
	own, err := s.joinedRooms(ctx, user)
	if err != nil {
		return nil, err
	}
	theirs, err := s.joinedRooms(ctx, other)
	return slices.DeleteFunc(own, func(room string) bool { return !has(theirs, room) }), err
}

// anyPublic reports whether any of the rooms can be joined or read by everybody.
// It keeps in known what it finds out.
func (s *Service) anyPublic(ctx context.Context, rooms []string, known map[string]bool) (bool, error) {
	var refs []store.Ref
	for _, room := range rooms {
		if is, ok := known[room]; is {
			return true, nil
		} else if !ok {
			refs = append(refs, store.Ref{Table: store.Rooms, Key: HeadKey(room)})
		}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Eventual)
	if err != nil {
		return false, fmt.Errorf("read heads: %w", err)
	}
	for _, it := range items {
		room := RoomOfPart(it.Key.Part)
		if known[room], err = s.isPublic(ctx, room, it); err != nil || known[room] {
			return known[room], err
		}
	}
	return false, nil
}

// isPublic is anyPublic for a room with its HEAD.
func (s *Service) isPublic(ctx context.Context, room string, head store.Item) (bool, error) {
	h, err := decodeHead(head)
	if err != nil || h.Creating {
		return false, err
	}
	if h.Visibility == worldReadable {
		return true, nil
	}
	key := auth.Key{Type: "m.room.join_rules"}
	views, err := s.Views(ctx, room, h.CurrentRoot(), []auth.Key{key})
	if err != nil {
		return false, err
	}
	return views[key] != nil && views[key].Content.JoinRule == "public", nil
}
