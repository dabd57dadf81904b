package userlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// Rows of the users table, under the partition WAKES, so that a process which has
// found a user dormant need not ask again at each message:
//
//   - END {n}: how many wakes there were.
//   - W#n {u}: that the user woke, or got a pusher; kept for wakesKept. Written in one
//     transaction with END, so that they have no gaps. If one were lost, a process
//     could take the user for dormant until its memory is full, and the user would
//     miss messages until dormant and awake again; nothing rolls them back but a
//     restore, after which processes are new.
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
	for try := range maxTries {
		last, err := s.lastWake(ctx)
		if isBusy(err) {
			if err := s.pause(ctx, try); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		stands := store.Equal("n", last.n)
		if last.n == 0 {
			stands = store.Absent("n")
		}
		err = s.DB.Transact(ctx,
			store.Update(store.Users, store.Key{Part: wakesPart, Sort: wakesEnd}).Set("n", last.n+1).If(stands),
			store.Put(store.Users, wakeKeyOf(last.n+1), store.Attrs{"u": user}).Until(s.Clock.Now().Add(wakesKept)))
		if err == nil {
			return nil
		}
		if store.Failed(err) == nil && !isBusy(err) {
			return fmt.Errorf("wake %s: %w", user, err)
		}
		if err := s.pause(ctx, try); err != nil {
			return err
		}
	}
	return fmt.Errorf("wake %s: %w", user, store.ErrConflict)
}

// wakesUpTo is a number of wakes, if it is known, and before when it was read.
type wakesUpTo struct {
	n  int64
	ok bool
	at time.Time
}

func (s *Service) lastWake(ctx context.Context) (wakesUpTo, error) {
	now := s.Clock.Now()
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: store.Key{Part: wakesPart, Sort: wakesEnd}}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return wakesUpTo{}, fmt.Errorf("read the last wake: %w", err)
	}
	return wakesUpTo{it.Int("n"), true, now}, nil
}

// wakesSince returns who woke after a number of wakes, and how many there are now;
// not ok if that is too long ago to be known. It costs a read unit.
func (s *Service) wakesSince(ctx context.Context, from wakesUpTo) (woken map[string]bool, up wakesUpTo, err error) {
	now := s.Clock.Now()
	if now.Sub(from.at) > wakesKept/2 {
		s.seen.forget()
		return nil, up, nil
	}
	q := store.Query{Table: store.Users, Part: wakesPart, From: wakeKeyOf(from.n + 1).Sort, To: wakePre + "\U0010FFFF", Consistency: store.Consistent}
	woken, up = map[string]bool{}, wakesUpTo{from.n, true, now}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, up, fmt.Errorf("read who woke: %w", err)
		}
		n, err := strconv.ParseInt(strings.TrimPrefix(it.Key.Sort, wakePre), 16, 64)
		if err != nil {
			return nil, up, fmt.Errorf("wake with sort key %q", it.Key.Sort)
		}
		if n != up.n+1 {
			s.seen.forget()
			return nil, wakesUpTo{}, nil
		}
		up.n = n
		woken[it.Str("u")] = true
	}
	s.seen.wake(woken, up)
	return woken, up, nil
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
