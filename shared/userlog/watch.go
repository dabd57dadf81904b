package userlog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
)

// watchPre sorts just after LOG, so that what reads the log to its end reads the
// rows of Watch at no cost, and what reads the end of the log never meets them.
const watchPre = logSort + "~"

const watchAttr = "u"

// Watch lets the user's devices look at a room until then for what passes there
// and is in no log. Devices that wait have to be woken. If it is lost, they do not
// learn of that.
func (s *Service) Watch(ctx context.Context, user, room string, until time.Time) error {
	w := store.Put(store.Users, store.Key{Part: Part(user), Sort: watchPre + room}, store.Attrs{watchAttr: clock.Millis(until)}).Until(until)
	if _, err := s.DB.Write(ctx, w); err != nil {
		return fmt.Errorf("let %s watch %s: %w", user, room, err)
	}
	return nil
}

// presenceSort sorts among the rows of Watch, whose rooms begin with "!".
const presenceSort = watchPre + "presence"

// PresenceKey is the key of a user's presence, which shared/timeline writes. It is
// here so that a device that looks at the log finds its user's own presence at no
// cost.
func PresenceKey(user string) store.Key { return store.Key{Part: Part(user), Sort: presenceSort} }

// KindPresence says that the presence of the user Type has changed, who is also in
// Room.
const KindPresence Kind = "presence"

// Aside is what lies beside the log, and is read with it.
type Aside struct {
	// Watched are the rooms that the user's devices look at.
	Watched []string
	// Presence is the row of PresenceKey, if there is one.
	Presence store.Item
}

// Aside returns what lies beside the user's log. Whoever reads the log has it in
// the Page.
func (s *Service) Aside(ctx context.Context, user string) (a Aside, err error) {
	now := s.Clock.Now()
	q := store.Query{Table: store.Users, Part: Part(user), Consistency: store.Consistent}.Prefix(watchPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return Aside{}, fmt.Errorf("read what %s watches: %w", user, err)
		}
		a.add(it, now)
	}
	return a, nil
}

// add takes over what a row says, and reports whether it is one of those beside
// the log.
func (a *Aside) add(it store.Item, now time.Time) bool {
	room, ok := strings.CutPrefix(it.Key.Sort, watchPre)
	switch {
	case !ok:
		return false
	case it.Key.Sort == presenceSort:
		a.Presence = it
	case it.Int(watchAttr) > clock.Millis(now):
		a.Watched = append(a.Watched, room)
	}
	return true
}
