package timeline

import (
	"context"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
)

// DeviceLists are users whose devices the client has to look at again, because they
// came to share an encrypted room with the user, and those of whom it need not know
// any more.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-sync-1
type DeviceLists struct {
	Changed []string `json:"changed,omitempty"`
	Left    []string `json:"left,omitempty"`
}

// sharing are the users of DeviceLists, while an answer is made. Those who left are
// in it if they share no other room.
type sharing struct{ came, left map[string]bool }

const (
	typeEncryption = "m.room.encryption"
	// maxShared bounds the users of an answer that came to share a room, and maxParted
	// those of whom it is found out whether they share another one. More of the former
	// are looked at by a client when it writes to them; to know too much of the latter
	// does no harm.
	maxShared = 2000
	maxParted = 50
)

// share notes who came to share a room with the user by what changed in it, or left,
// if it is encrypted. in says that the user is in the room at the end. Whoever is
// told of all rooms asks for all devices anyway. It reads nothing where no
// membership changed.
func (y *syncing) share(ctx context.Context, w *view, st *stretch, k known, changed stateIDs, in bool) error {
	if y.all {
		return nil
	}
	whole := !in || k.nothing // all members came, or are left behind
	ids := map[string]string{}
	var keys []auth.Key
	for key, eventID := range changed {
		switch {
		case key.Type == typeEncryption && key.StateKey == "":
			whole = true
		case key.Type == typeMember && key.StateKey != y.User:
			ids[key.StateKey] = eventID
			keys = append(keys, auth.Key{Type: typeMember, StateKey: key.StateKey})
		}
	}
	if !whole && len(keys) == 0 || !in && k.nothing {
		return nil
	}
	encrypted, err := y.s.StateIDs(ctx, w.room, st.end, []auth.Key{{Type: typeEncryption}})
	if err != nil || len(encrypted) == 0 {
		return err
	}
	if whole {
		for _, where := range []string{Local, Remote} {
			members, err := y.s.stateRows(ctx, w.room, memberPre+where+"#join#", maxShared)
			if err != nil {
				return err
			}
			for _, m := range members {
				y.shares(m.StateKey, in)
			}
		}
		return nil
	}
	was, err := y.s.Views(ctx, w.room, k.root, keys)
	if err != nil {
		return err
	}
	now, err := y.s.ViewsByID(ctx, slices.DeleteFunc(slices.Collect(maps.Values(ids)), func(eventID string) bool { return eventID == "" }))
	if err != nil {
		return err
	}
	for _, key := range keys {
		joined := func(v *auth.View) bool { return v != nil && v.Content.Membership == "join" }
		if before, after := joined(was[key]), joined(now[ids[key.StateKey]]); before != after {
			y.shares(key.StateKey, after)
		}
	}
	return nil
}

// shares notes that a user came to share a room, or does not share it any more.
func (y *syncing) shares(user string, came bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	list, most := &y.sharing.left, maxParted
	if came {
		list, most = &y.sharing.came, maxShared
	}
	if *list == nil {
		*list = map[string]bool{}
	}
	if user != y.User && len(*list) < most {
		(*list)[user] = true
	}
}

// deviceLists returns what the answer tells of devices, or nil. Of users of other
// servers it is not known which rooms they share, and they stay known.
func (y *syncing) deviceLists(ctx context.Context) (*DeviceLists, error) {
	lists := new(DeviceLists)
	for user := range y.sharing.came {
		lists.Changed = append(lists.Changed, user)
	}
	for user := range y.sharing.left {
		if y.sharing.came[user] || id.Server(user) != y.s.ServerName {
			continue
		}
		rooms, err := y.s.MutualRooms(ctx, y.User, user)
		if err != nil {
			return nil, err
		}
		if len(rooms) == 0 {
			lists.Left = append(lists.Left, user)
		}
	}
	if len(lists.Changed)+len(lists.Left) == 0 {
		return nil, nil
	}
	slices.Sort(lists.Changed)
	slices.Sort(lists.Left)
	return lists, nil
}
