package timeline

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/virga-im/virga/shared/timeline/trie"
)

// A device that loads members lazily is told of one when it is shown an event of
// theirs, and need not be told again. What it was told is kept in memory, by the
// device and a number that is drawn for each answer that tells of members and is in
// its token, so that it is known which answers have arrived. What is forgotten, or
// known to another process, is told again, which is no harm.
//
// https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members

// answerTo is an answer to a device.
type answerTo struct {
	Viewer
	number uint32
}

// maxToldMembers is of how many memberships it is kept that a device was told.
const maxToldMembers = 500

// lazily is what one answer has to do with it.
type lazily struct {
	on bool
	// known are the memberships that the device was told before: their rooms, by event
	// id. It is not written to.
	known map[string]string

	mu    sync.Mutex
	told  map[string]string // likewise by this answer
	fresh map[string]bool   // rooms that begin anew, and of which nothing else is known
}

// begin reads what the device knows that presents the number.
func (l *lazily) begin(s *Service, v Viewer, number uint32, f *RoomEventFilter) {
	l.on, l.told, l.fresh = f.LazyLoadMembers, map[string]string{}, map[string]bool{}
	if l.on && !f.IncludeRedundantMembers && number != 0 {
		l.known, _ = s.members.get(answerTo{v, number})
	}
}

// tells notes what the answer tells of a room, which may be all there is to know.
func (l *lazily) tells(room string, fresh bool, lists ...[]*EventRow) error {
	if !l.on {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if fresh {
		l.fresh[room] = true
	}
	for _, rows := range lists {
		for _, r := range rows {
			e, err := r.Event()
			if err != nil {
				return err
			}
			if e.Type == typeMember && e.IsState() && (fresh || l.known[r.ID] == "") {
				l.told[r.ID] = room
			}
		}
	}
	return nil
}

// any reports whether the device knows more after the answer, or less.
func (l *lazily) any() bool { return len(l.told)+len(l.fresh) > 0 }

// keep keeps what the device knows when it presents the number.
func (l *lazily) keep(s *Service, v Viewer, number uint32) {
	knows := l.told
	if len(l.told)+len(l.known) <= maxToldMembers {
		for eventID, room := range l.known {
			if !l.fresh[room] {
				knows[eventID] = room
			}
		}
	}
	if len(knows) > maxToldMembers {
		return
	}
	size := 200
	for eventID, room := range knows {
		size += len(eventID) + len(room) + 40
	}
	s.members.put(answerTo{v, number}, knows, size)
}

// draw is the number of a new answer; zero is that of none.
func draw() uint32 { return rand.Uint32() | 1 }

// addMembers adds the membership events of users to the state of an answer, but for
// those that the device knows.
func (y *syncing) addMembers(ctx context.Context, w *view, ids stateIDs, st *stretch, fresh, after bool, users []string) error {
	if len(users) == 0 {
		return nil
	}
	root := st.start
	if after {
		root = st.end
	}
	found, err := w.s.StateIDs(ctx, w.room, root, memberKeys(users...))
	if err != nil {
		return err
	}
	for key, id := range found {
		if _, ok := ids[trie.Key(key)]; !ok && (fresh || y.lazily.known[id] == "") {
			ids[trie.Key(key)] = id
		}
	}
	return nil
}
