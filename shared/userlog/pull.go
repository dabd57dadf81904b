package userlog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/virga-im/virga/shared/store"
)

// RoomWakeKey is the key that waiting devices of the members of a pulled room
// arm, beside their own.
func RoomWakeKey(room string) string { return "room " + room }

const (
	pulledAttr        = "pl"
	pulledVersionAttr = "pv"
)

// pulled is the list of rooms that the user's devices look at themselves, since
// nobody writes to the log what happens in them, and a version that every
// addition changes, also one that adds what is there.
type pulled struct {
	// Pulled are the rooms, in order.
	Pulled        []string
	pulledVersion int64
}

func pulledOf(it store.Item) (p pulled, err error) {
	p.pulledVersion = it.Int(pulledVersionAttr)
	if list := it.Str(pulledAttr); list != "" {
		err = json.Unmarshal([]byte(list), &p.Pulled)
	}
	return p, err
}

// write returns the write of another list in place of p.
func (p pulled) write(user string, list []string) store.Write {
	w := store.Update(store.Users, logKey(user)).Set(pulledVersionAttr, p.pulledVersion+1)
	if len(list) == 0 {
		w = w.Remove(pulledAttr)
	} else {
		text, _ := json.Marshal(list)
		w = w.Set(pulledAttr, string(text))
	}
	if p.pulledVersion == 0 {
		return w.If(store.Absent(pulledVersionAttr))
	}
	return w.If(store.Equal(pulledVersionAttr, p.pulledVersion))
}

// Pull lets the users' devices look at the room themselves from now on, and
// wakes them so that they do.
func (s *Service) Pull(ctx context.Context, room string, users []string) error {
	refs := make([]store.Ref, len(users))
	for i, user := range users {
		refs[i] = store.Ref{Table: store.Users, Key: logKey(user)}
	}
	items, err := s.getMany(ctx, refs)
	if err != nil {
		return fmt.Errorf("read who pulls %s: %w", room, err)
	}
	rows := make(map[string]store.Item, len(items))
	for _, it := range items {
		rows[UserOfPart(it.Key.Part)] = it
	}
	return each(users, func(user string) error {
		row := rows[user]
		return s.until(ctx, user, func() (outcome, error) {
			p, err := pulledOf(row)
			if err != nil {
				return again, err
			}
			list := slices.Compact(slices.Sorted(slices.Values(append(p.Pulled, room))))
			_, err = s.DB.Write(ctx, p.write(user, list))
			if f := store.Failed(err); f != nil {
				row = f.Failed[0]
				return again, nil
			}
			if err != nil {
				return again, fmt.Errorf("pull %s for %s: %w", room, user, err)
			}
			return written, nil
		})
	})
}

// Unpull ends looking at rooms, if none was added since h was read: what the
// caller found out about the rooms after that is then still true.
func (s *Service) Unpull(ctx context.Context, user string, h Head, rooms []string) error {
	list := slices.DeleteFunc(slices.Clone(h.Pulled), func(room string) bool { return slices.Contains(rooms, room) })
	_, err := s.DB.Write(ctx, h.pulled.write(user, list))
	if err != nil && store.Failed(err) == nil && !isBusy(err) {
		return fmt.Errorf("pull fewer rooms for %s: %w", user, err)
	}
	return nil
}
