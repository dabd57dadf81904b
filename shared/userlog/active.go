package userlog

import (
	"context"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
)

// Activity says whether the user has a device that looks at the log. What
// happens in rooms is only written to the logs of active users; those who are
// dormant pay nothing, and catch up when they wake.
//
// That nothing is lost in between rests on the order of four steps. Fan-out
// reads the room's HEAD, and then the Activity of its members. Whoever wakes
// writes the Activity, and then reads the HEADs of all joined rooms. All four
// are consistent. A fan-out that found the user dormant read the Activity before
// it was written, and so its HEAD before that; the HEAD that the waking user
// reads is therefore not behind it. A fan-out that reads later finds the user
// active and writes the entry. Both may write it: a position is told once,
// whoever tells it.
//
// Whoever remembers that somebody was dormant looks at the wakes since (see
// wakes.go): waking writes the Activity, then a wake, and then reads the HEADs, so
// the same holds for a fan-out that reads the HEAD, and then the wakes.
//
// A device that is killed while it catches up leaves Waking, and the next one
// catches up again. Fan-out goes on for an hour after Until, so that clocks
// which differ by less agree about who had to write what.
type Activity struct {
	// Until is when the user becomes dormant; zero is long ago.
	Until time.Time
	// Waking says that the log may not tell what happened while the user was
	// dormant.
	Waking bool
}

const (
	// ActiveFor is how long a user is active after a device has looked.
	ActiveFor = 24 * time.Hour
	// renewEvery is how often a look renews that.
	renewEvery = time.Hour
	// clocksDiffer is by how much clocks may differ, and how long a process may
	// stop between two steps.
	clocksDiffer = time.Hour

	untilAttr  = "a"
	wakingAttr = "w"
)

func logKey(user string) store.Key { return store.Key{Part: Part(user), Sort: logSort} }

func activityOf(it store.Item) Activity {
	a := Activity{Waking: it.Bool(wakingAttr)}
	if ms := it.Int(untilAttr); ms != 0 {
		a.Until = time.UnixMilli(ms).UTC()
	}
	return a
}

// CheckIn counts the user as active from now on. a is what Head or After read.
// If the answer is Waking, the caller makes the log tell of all joined rooms
// (Behind, CatchUp) and then calls CaughtUp with it; only then is the log
// complete. It writes at most once an hour.
func (s *Service) CheckIn(ctx context.Context, user string, a Activity) (Activity, error) {
	for try := range maxTries {
		now := s.Clock.Now()
		dormant := !now.Before(a.Until)
		if !dormant && a.Until.Sub(now) > ActiveFor-renewEvery {
			return a, s.woken(ctx, user, a)
		}
		next := Activity{Until: now.Add(ActiveFor).Truncate(time.Millisecond), Waking: a.Waking || dormant}
		w := store.Update(store.Users, logKey(user)).Set(untilAttr, clock.Millis(next.Until))
		if next.Waking {
			w = w.Set(wakingAttr, true)
		} else {
			w = w.If(store.Absent(wakingAttr))
		}
		if a.Until.IsZero() {
			w = w.If(store.Absent(untilAttr))
		} else {
			w = w.If(store.Equal(untilAttr, clock.Millis(a.Until)))
		}
		_, err := s.DB.Write(ctx, w)
		if f := store.Failed(err); f != nil {
			a = activityOf(f.Failed[0]) // another device was faster
			continue
		}
		if isBusy(err) {
			if !next.Waking {
				return a, nil // for hours yet; the next look renews it
			}
			if err := s.pause(ctx, try); err != nil {
				return a, err
			}
			continue
		}
		if err != nil {
			return a, fmt.Errorf("keep %s active: %w", user, err)
		}
		// Between looking at the clock and the write the user may have become
		// dormant after all.
		next.Waking = next.Waking || !s.Clock.Now().Before(a.Until)
		return next, s.woken(ctx, user, next)
	}
	return a, fmt.Errorf("keep %s active: %w", user, store.ErrConflict)
}

// CaughtUp records that the log tells what happened while the user was dormant.
// If another device has begun to catch up meanwhile, it is for that one to say; if
// the store is too busy, the next look catches up again.
func (s *Service) CaughtUp(ctx context.Context, user string, a Activity) error {
	w := store.Update(store.Users, logKey(user)).Remove(wakingAttr).If(store.Equal(untilAttr, clock.Millis(a.Until)))
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil && !isBusy(err) {
		return fmt.Errorf("end waking of %s: %w", user, err)
	}
	return nil
}

// Behind returns those of the rooms whose cursors have a last entry that is not
// in the log, because its writer died or has not come to it. h is the end of the
// log at any time. What is found here is a reason to look closer (CatchUp).
func (s *Service) Behind(ctx context.Context, user string, h Head, cursors []Cursor) (map[string]bool, error) {
	behind := map[string]bool{}
	var refs []store.Ref
	slots := map[string][]Cursor{}
	for _, c := range cursors {
		switch {
		case c.N == 0:
		case c.N > h.N:
			behind[c.Room] = true
		default:
			sort := entrySort(c.N)
			if slots[sort] == nil {
				refs = append(refs, store.Ref{Table: store.Users, Key: store.Key{Part: Part(user), Sort: sort}})
			}
			slots[sort] = append(slots[sort], c)
		}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read log of %s: %w", user, err)
	}
	for _, it := range items { // what is not there has expired
		var e Entry
		if err := store.Decode(it, &e); err != nil {
			return nil, err
		}
		for _, c := range slots[it.Key.Sort] {
			behind[c.Room] = behind[c.Room] || !c.is(e)
		}
	}
	return behind, nil
}

// Active returns those of the users who are active, as of a time after the call.
// Whoever has a pusher counts as active: the log is what pushers send.
func (s *Service) Active(ctx context.Context, users []string) ([]string, error) {
	now := s.Clock.Now()
	active, dormant, ask, known := s.seen.sort(users, now)
	if len(dormant) > 0 {
		woken, up, err := s.wakesSince(ctx, known)
		if err != nil {
			return nil, err
		}
		for _, user := range dormant {
			if !up.ok || woken[user] {
				ask = append(ask, user)
			}
		}
		known = up
	}
	if len(ask) == 0 {
		return active, nil
	}
	if !known.ok {
		var err error
		if known, err = s.lastWake(ctx); err != nil {
			return nil, err
		}
		s.seen.begin(known)
	}
	refs := make([]store.Ref, len(ask))
	asleep := make(map[string]bool, len(ask))
	for i, user := range ask {
		refs[i], asleep[user] = store.Ref{Table: store.Users, Key: logKey(user)}, true
	}
	items, err := s.getMany(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read who is active: %w", err)
	}
	for _, it := range items {
		until := activityOf(it).Until.Add(clocksDiffer)
		if hour := now.Add(renewEvery); it.Int(pushersAttr) != 0 && hour.After(until) {
			until = hour
		}
		if user := UserOfPart(it.Key.Part); now.Before(until) {
			delete(asleep, user)
			active = append(active, user)
			s.seen.keep(user, until)
		}
	}
	s.seen.sleep(asleep, known.n)
	return active, nil
}

// WithPushers returns those of the users who have pushers, with the version of their
// settings.
func (s *Service) WithPushers(ctx context.Context, users []string) (map[string]int64, error) {
	refs := make([]store.Ref, len(users))
	for i, user := range users {
		refs[i] = store.Ref{Table: store.Users, Key: logKey(user)}
	}
	items, err := s.getMany(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read who has pushers: %w", err)
	}
	with := map[string]int64{}
	for _, it := range items {
		if it.Int(pushersAttr) != 0 {
			with[UserOfPart(it.Key.Part)] = it.Int(settingsAttr)
		}
	}
	return with, nil
}
