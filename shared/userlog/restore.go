package userlog

import (
	"strings"

	"github.com/virga-im/virga/shared/store"
)

// A server whose rows are put back from a copy begins a new generation. What it told
// its clients after the copy was made is gone, and it will give the same numbers to
// other entries; so a token of another generation is never read as a place in the
// log: its device is told anew where everything stands.

// LogKey is the key of the LOG row of a user.
func LogKey(user string) store.Key { return logKey(user) }

// Restored returns the LOG row as it is put back in the generation, or in the one
// after its own if that is later. A log that had no entry yet may have got some
// since, so it has a generation too, and begins beyond them.
func Restored(it store.Item, generation int64) store.Item {
	attrs := store.Attrs{hintAttr: int64(0)}
	for name, v := range it.Attrs {
		attrs[name] = v
	}
	attrs[epochAttr] = max(generation, it.Int(epochAttr)+1)
	it.Attrs = attrs
	return it
}

// RestoredOver is Restored where the user's LOG row of a later time, or of nobody, is
// still there: its generation is over as well.
func RestoredOver(it, now store.Item, generation int64) store.Item {
	return Restored(it, max(generation, now.Int(epochAttr)+1))
}

// OutlivesRestore reports whether a row of the users table stays as it is when the
// server is put back to an earlier time: the count of wakes, which processes remember.
func OutlivesRestore(k store.Key) bool { return k.Part == wakesPart }

// RoomOfCursor is the room of a Cursor's key, in the users table.
func RoomOfCursor(k store.Key) (room string, ok bool) {
	room, ok = strings.CutPrefix(k.Sort, cursorPre)
	return room, ok && k == CursorKey(UserOfPart(k.Part), room)
}

// Begun returns the write that gives a user a LOG row in the generation, unless there
// is one: users have none before the first thing to tell.
func Begun(user string, generation int64) store.Write {
	return store.Put(store.Users, LogKey(user), store.Attrs{hintAttr: int64(0), epochAttr: generation}).If(store.NotExists())
}
