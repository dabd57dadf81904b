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

// Watched returns the rooms that the user's devices look at. Whoever reads the
// log has them in its Page.
func (s *Service) Watched(ctx context.Context, user string) (rooms []string, err error) {
	now := s.Clock.Now()
	q := store.Query{Table: store.Users, Part: Part(user), Consistency: store.Consistent}.Prefix(watchPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read what %s watches: %w", user, err)
		}
		if watched(it, now) {
			rooms = append(rooms, it.Key.Sort[len(watchPre):])
		}
	}
	return rooms, nil
}

func isWatch(it store.Item) bool { return strings.HasPrefix(it.Key.Sort, watchPre) }

func watched(it store.Item, now time.Time) bool { return it.Int(watchAttr) > clock.Millis(now) }
