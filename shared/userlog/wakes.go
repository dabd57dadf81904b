package userlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// Rows of the users table, under the partition WAKES, so that a process which has
// found a user dormant need not ask again at each message:
//
//   - END {n}: how many wakes there were. A wake takes the next number.
//   - W#n {u}: the user who woke, or got a pusher; kept for wakesKept. It is written
//     after its number was taken, so one that is missing may be anybody's, and
//     whoever misses it forgets who slept.
//
// Nobody waits for anybody else: many wake at the same time in the morning. If END
// were lost or rolled back while processes run, they could take users for dormant
// who are not; after a restore, processes are new.
const (
	wakesPart = "WAKES"
	wakesEnd  = "END"
	wakePre   = "W#"
	wakesKept = 48 * time.Hour
)

func wakeKeyOf(n int64) store.Key {
	return store.Key{Part: wakesPart, Sort: fmt.Sprintf("%s%016x", wakePre, n)}
}

// woken tells all processes that a user wakes, if the activity says so. It is
// called after that is written, and before the user catches up.
func (s *Service) woken(ctx context.Context, user string, a Activity) error {
	if !a.Waking {
		return nil
	}
	return s.Woke(ctx, user)
}

// Woke tells all processes that a user is not dormant any more. To repeat it does no
// harm.
func (s *Service) Woke(ctx context.Context, user string) error {
	var n int64
	err := s.insist(ctx, func() error {
		it, err := s.DB.Write(ctx, store.Update(store.Users, store.Key{Part: wakesPart, Sort: wakesEnd}).Add("n", 1))
		n = it.Int("n")
		return err
	})
	if err == nil {
		w := store.Put(store.Users, wakeKeyOf(n), store.Attrs{"u": user}).Until(s.Clock.Now().Add(wakesKept))
		err = s.insist(ctx, func() error { _, err := s.DB.Write(ctx, w); return err })
	}
	if err != nil {
		return fmt.Errorf("wake %s: %w", user, err)
	}
	return nil
}

// insist does something again while the store is too busy for it.
func (s *Service) insist(ctx context.Context, do func() error) (err error) {
	for try := range maxTries {
		if err = do(); !isBusy(err) {
			return err
		}
		if err := s.pause(ctx, try); err != nil {
			return err
		}
	}
	return err
}

// wakesUpTo is a number of wakes, if it is known.
type wakesUpTo struct {
	n  int64
	ok bool
}

func (s *Service) lastWake(ctx context.Context) (wakesUpTo, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: store.Key{Part: wakesPart, Sort: wakesEnd}}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return wakesUpTo{}, fmt.Errorf("read the last wake: %w", err)
	}
	return wakesUpTo{it.Int("n"), true}, nil
}

// wakesSince returns who woke after a number of wakes, and how many there are now;
// not ok if it cannot be told. It costs a read unit, and another if somebody woke.
func (s *Service) wakesSince(ctx context.Context, from wakesUpTo) (woken map[string]bool, up wakesUpTo, err error) {
	if up, err = s.lastWake(ctx); err != nil {
		return nil, up, err
	}
	woken, whole, err := s.wakesIn(ctx, from.n, up.n)
	if err != nil {
		return nil, up, err
	}
	if !whole {
		s.seen.forget()
		return nil, wakesUpTo{}, nil
	}
	s.seen.wake(woken, up)
	return woken, up, nil
}

// wakesIn returns who woke after a number of wakes and up to another. It is not whole
// if one is missing, not written yet or expired.
func (s *Service) wakesIn(ctx context.Context, from, to int64) (woken map[string]bool, whole bool, err error) {
	woken = map[string]bool{}
	if to == from {
		return woken, true, nil
	}
	n := from
	q := store.Query{Table: store.Users, Part: wakesPart, From: wakeKeyOf(from + 1).Sort, To: wakeKeyOf(to).Sort, Consistency: store.Consistent}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, false, fmt.Errorf("read who woke: %w", err)
		}
		n++
		woken[it.Str("u")] = true
	}
	return woken, n == to, nil
}

// WokenSince returns who woke, or got a first pusher, after a number of wakes, and how
// many there are now; nil if it cannot be told, as of a negative number. It costs a
// read unit, and another if somebody woke.
func (s *Service) WokenSince(ctx context.Context, n int64) (woken map[string]bool, now int64, err error) {
	up, err := s.lastWake(ctx)
	if err != nil || n < 0 {
		return nil, up.n, err
	}
	woken, ok, err := s.wakesIn(ctx, n, up.n)
	if err != nil || !ok {
		return nil, up.n, err
	}
	return woken, up.n, nil
}

// seen remembers who is active and who is dormant. The former is safe: activity is
// prolonged and never cut short. The latter is true as of a number of wakes.
type seen struct {
	mu      sync.Mutex
	until   map[string]time.Time
	dormant map[string]bool
	wakes   wakesUpTo
}

// maxSeen bounds the memory to some megabytes.
const maxSeen = 20_000

// sort divides users into those who are active, those who were dormant as of known,
// and those of whom to ask.
func (s *seen) sort(users []string, now time.Time) (active, dormant, ask []string, known wakesUpTo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range users {
		switch {
		case now.Before(s.until[user]):
			active = append(active, user)
		case s.dormant[user]:
			dormant = append(dormant, user)
		default:
			ask = append(ask, user)
		}
	}
	return active, dormant, ask, s.wakes
}

func (s *seen) keep(user string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil || len(s.until) >= maxSeen {
		s.until = map[string]time.Time{}
	}
	s.until[user] = until
}

// begin begins to remember who is dormant, as of a number of wakes.
func (s *seen) begin(wakes wakesUpTo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wakes.ok {
		s.dormant, s.wakes = map[string]bool{}, wakes
	}
}

// sleep remembers who was found dormant after n wakes, if there was none since that
// somebody else has heard of: it may be theirs.
func (s *seen) sleep(users map[string]bool, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wakes.ok || s.wakes.n != n || len(s.dormant)+len(users) > maxSeen {
		return
	}
	for user := range users {
		s.dormant[user] = true
	}
}

// wake notes who woke since, up to a number of wakes.
func (s *seen) wake(users map[string]bool, up wakesUpTo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user := range users {
		delete(s.dormant, user)
	}
	if s.wakes.ok && up.n >= s.wakes.n {
		s.wakes = up
	}
}

func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dormant, s.wakes = nil, wakesUpTo{}
}
