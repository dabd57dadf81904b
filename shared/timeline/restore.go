package timeline

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Restored returns the writes that put a room back where it stood: was is its HEAD
// then, and now what it is, not existing if that is lost. Positions only move forward:
// what the room is given next comes after all that it ever had, because clients and
// other servers have seen those, and a position that is given twice would be two
// things. So where the room has moved since, it takes a position of its own, without
// an event and without a change of state. The first write is to be done before the second.
func Restored(was, now store.Item) ([]store.Write, error) {
	then, err := decodeHead(was)
	if err != nil {
		return nil, err
	}
	head := store.Item{Key: was.Key, Attrs: store.Attrs{}}
	for name, v := range was.Attrs {
		head.Attrs[name] = v
	}
	if now.Exists() {
		is, err := decodeHead(now)
		if err != nil {
			return nil, fmt.Errorf("the room as it is: %w", err)
		}
		if reflect.DeepEqual(was.Attrs, now.Attrs) {
			return nil, nil
		}
		// A writer that has read either HEAD fails, and so reads again.
		head.Attrs[HeadVersion] = max(is.Version, then.Version) + 1
		head.Attrs["sv"] = max(is.StateVer, then.StateVer) + 1
		if is.Pos > then.Pos || is.Version > then.Version {
			pos := max(is.Pos, then.Pos) + 1
			head.Attrs["pos"] = int64(pos)
			row := EventRow{Kind: KindState, RoomVersion: then.RoomVersion, Root: then.Root, Visibility: then.Visibility}
			return []store.Write{
				store.Put(store.Rooms, EventKey(RoomOfPart(was.Key.Part), pos), store.Encode(row)),
				store.Put(store.Rooms, head.Key, head.Attrs),
			}, nil
		}
	}
	return []store.Write{store.Put(store.Rooms, head.Key, head.Attrs)}, nil
}

// OutlivesRestore reports whether a row of the users table stays as it is when the
// server is put back to an earlier time, and whose it is: filters, whose ids clients
// remember.
func OutlivesRestore(k store.Key) (user string, ok bool) {
	user = userlog.UserOfPart(k.Part)
	return user, k.Part == userlog.Part(user) && (strings.HasPrefix(k.Sort, filterPre) || k.Sort == "FILTERS")
}
