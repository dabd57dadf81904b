package archive

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// The mark of an import that has not ended, in the server table: {id}, that of the
// file. It is written before the first row, and deleted after the last one.
var mark = store.Key{Part: "IMPORT", Sort: "FILE"}

// leftBehind reports whether a row is never carried over, neither out nor in: a file
// of an older release may have what this one leaves.
//
// Whoever adds a kind of row that says how often something was handed out, or
// that is of one place only, lists it here. One-time keys of devices (OTK#) are so;
// the row of their counts (K) is to go with them, so that each device is told at
// its next /sync that there are none and uploads some. Tombstones of those that
// were handed out stay. Here is also the place for what others may have seen of a
// later time than the file's, once there is any: device lists that are to be marked
// as changed, and forward extremities to be asked of other servers before the first
// event is sent.
func leftBehind(t *store.Table, k store.Key) bool {
	switch t {
	case store.Server:
		return k == mark
	case store.E2EE:
		return k.Sort == "K" || strings.HasPrefix(k.Sort, "OTK#")
	case store.Users:
		return strings.HasPrefix(k.Part, "W#") // who waits at which queue of a stack: shared/aws/mark.go
	}
	return false
}

// refused says why a row cannot be that of the server.
func refused(t *store.Table, it store.Item, server string) error {
	if t == store.Users && strings.HasPrefix(it.Key.Part, userlog.Part("")) {
		if user := userlog.UserOfPart(it.Key.Part); !strings.HasSuffix(user, ":"+server) {
			return fmt.Errorf("%.300q is no user of %s", user, server)
		}
	}
	return nil
}

// isHead reports whether a row is the HEAD of a room.
func isHead(t *store.Table, it store.Item) bool {
	return t == store.Rooms && it.Key.Sort == timeline.HeadSort && strings.HasPrefix(it.Key.Part, timeline.RoomPart(""))
}

func roomOf(it store.Item) string { return timeline.RoomOfPart(it.Key.Part) }

// restored is what is written for a row of a file: most often the row itself.
func restored(t *store.Table, it store.Item, generation int64) []store.Write {
	put := func(it store.Item) store.Write { return store.Put(t, it.Key, it.Attrs).Until(it.Expires) }
	if t != store.Users {
		return []store.Write{put(it)}
	}
	user := userlog.UserOfPart(it.Key.Part)
	if it.Key == userlog.LogKey(user) {
		return []store.Write{put(userlog.Restored(it, generation))}
	}
	if accounts.IsAccount(it.Key) {
		return []store.Write{put(it), userlog.Begun(user, generation)}
	}
	return []store.Write{put(it)}
}

// pending are the tasks that may have been in the work queue, and are sent again: a
// task only says where to look, so one too many does no harm. They are kept in memory
// until all rows are written, some hundred bytes for each user with a pusher or
// presence and each room with receipts of the last month.
//
// It is enough as long as no message holds what no row does. Events of other servers
// will, which are acknowledged when they are in the inbound queue: that one is to be
// empty before a server is exported.
type pending map[task]bool

type task struct{ kind, who string }

// note finds out from a row what may be pending.
func (p pending) note(t *store.Table, it store.Item) {
	switch user := userlog.UserOfPart(it.Key.Part); {
	case t == store.Rooms && timeline.IsRecentReceipt(it.Key):
		p[task{rooms.TellReceiptsTask, roomOf(it)}] = true
	case t != store.Users:
	case push.IsPusher(it.Key):
		p[task{rooms.PushTask, user}] = true
	case it.Key == userlog.PresenceKey(user):
		p[task{timeline.TellPresenceTask, user}] = true
	}
}

// usersOfTask is how many users one task is about.
const usersOfTask = 50

// tasks are the messages to send.
func (p pending) tasks() (all []rooms.Task) {
	var pushed []string
	for t := range p {
		switch t.kind {
		case rooms.PushTask:
			pushed = append(pushed, t.who)
		case timeline.TellPresenceTask:
			all = append(all, rooms.Task{Kind: t.kind, User: t.who})
		default:
			all = append(all, rooms.Task{Kind: t.kind, Room: t.who})
		}
	}
	for some := range slices.Chunk(pushed, usersOfTask) {
		all = append(all, rooms.Task{Kind: rooms.PushTask, Users: some, Badge: true})
	}
	return all
}
