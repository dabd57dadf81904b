package push

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Sent is how far what there is to send was sent by a pusher.
type Sent struct {
	// N is the last entry of the user's log that was dealt with.
	N int64 `db:"n,omitempty"`
	// Lease is until when a worker has the pusher to itself, in milliseconds.
	Lease int64 `db:"l,omitempty"`
	// Watch and WatchBadge are the lease after which a task looks whether the worker
	// has left something, and one that sends the counts anyway.
	Watch      int64 `db:"w,omitempty"`
	WatchBadge int64 `db:"wb,omitempty"`
	// Failing is since when the gateway has not answered, and Next when it is asked
	// again, in milliseconds; Failures is how often in a row.
	Failing  int64 `db:"f,omitempty"`
	Failures int64 `db:"k,omitempty"`
	Next     int64 `db:"x,omitempty"`
	// Badge says that the counts have changed since they were sent.
	Badge bool `db:"b,omitempty"`
}

func sentKey(user string, p Pusher) store.Key { return sentKeyOf(user, pusherID(p.AppID, p.PushKey)) }

func sentKeyOf(user, id string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: sentPre + id}
}

// Take gives the caller a pusher to itself until it calls Release, or for the time
// of the lease. It reports false if another has it, until the Lease of sent, who
// looks for more to send after releasing it.
func (s *Service) Take(ctx context.Context, user string, p Pusher, lease time.Duration) (sent Sent, ok bool, err error) {
	key := sentKey(user, p)
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return sent, false, fmt.Errorf("read what a pusher of %s has sent: %w", user, err)
	}
	if err := store.Decode(it, &sent); err != nil {
		return sent, false, err
	}
	now := clock.Millis(s.Clock.Now())
	if sent.Lease > now {
		return sent, false, nil
	}
	free := store.Absent("l")
	if sent.Lease != 0 {
		free = store.Equal("l", sent.Lease)
	}
	sent.Lease, sent.Watch, sent.WatchBadge = now+lease.Milliseconds(), 0, 0
	_, err = s.DB.Write(ctx, store.Update(store.Users, key).Set("l", sent.Lease).If(free))
	if store.Failed(err) != nil {
		return sent, false, nil
	}
	if err != nil {
		return sent, false, fmt.Errorf("take a pusher of %s: %w", user, err)
	}
	return sent, true, nil
}

// Watched reports whether a task comes after the lease, and one with badge if that
// is asked for.
func (s Sent) Watched(badge bool) bool {
	return s.WatchBadge == s.Lease || !badge && s.Watch == s.Lease
}

// Watch notes that a task comes after the lease of sent, unless it is over.
func (s *Service) Watch(ctx context.Context, user string, p Pusher, sent Sent, badge bool) error {
	watch := "w"
	if badge {
		watch = "wb"
	}
	_, err := s.DB.Write(ctx, store.Update(store.Users, sentKey(user, p)).Set(watch, sent.Lease).If(store.Equal("l", sent.Lease)))
	if err != nil && store.Failed(err) == nil {
		return fmt.Errorf("watch a pusher of %s: %w", user, err)
	}
	return nil
}

// Keep prolongs the lease of a pusher that was taken. It reports false if another
// has it by now.
func (s *Service) Keep(ctx context.Context, user string, p Pusher, sent *Sent, lease time.Duration) (bool, error) {
	until := clock.Millis(s.Clock.Now().Add(lease))
	_, err := s.DB.Write(ctx, store.Update(store.Users, sentKey(user, p)).Set("l", until).Set("n", sent.N).If(store.Equal("l", sent.Lease)))
	if store.Failed(err) != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep a pusher of %s: %w", user, err)
	}
	sent.Lease = until
	return true, nil
}

// Release records what was sent, unless the lease is another's by now.
func (s *Service) Release(ctx context.Context, user string, p Pusher, sent Sent) error {
	mine := store.Equal("l", sent.Lease)
	sent.Lease = 0
	w := store.Put(store.Users, sentKey(user, p), store.Encode(sent)).If(mine)
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("note what a pusher of %s has sent: %w", user, err)
	}
	return nil
}
