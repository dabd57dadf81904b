package userlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// maxTries bounds how often a write is tried that others are faster with, or
// that the store is too busy for. It takes about a second.
const maxTries = 16

// An outcome is how a try to write to a log ended.
type outcome uint8

const (
	again   outcome = iota // somebody else was faster
	already                // there was nothing to write any more
	written
)

// wrote is again or written.
func wrote(done bool) outcome {
	if done {
		return written
	}
	return again
}

// until calls try until it is done, and wakes the user's devices if it wrote. Whoever
// wrote what was there already wakes them too, and a device that is woken for nothing
// costs as much as one that is told something: if they died before that, it waits
// until its time is up. Between two tries it pauses, longer each time and with jitter, so that
// two writers do not meet again.
func (s *Service) until(ctx context.Context, user string, try func() (outcome, error)) error {
	var busy error
	for n := range maxTries {
		did, err := try()
		switch {
		case did == already && err == nil:
			return nil
		case did == written && err == nil:
			return s.Waker.Wake(ctx, WakeKey(user))
		case isBusy(err):
			busy = err
		case err != nil:
			return err
		}
		if n == 0 && err == nil {
			continue // most often there was one other writer, who is done by now
		}
		if err := s.pause(ctx, n); err != nil {
			return err
		}
	}
	if busy == nil {
		busy = errors.New("others were always faster")
	}
	return fmt.Errorf("log of %s after %d tries: %w", user, maxTries, busy)
}

// pause waits before another try.
func (s *Service) pause(ctx context.Context, try int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.Clock.After(time.Duration(1+rand.IntN(4<<min(try, 5))) * time.Millisecond):
		return nil
	}
}

// isBusy reports whether nothing was written and trying again may help.
func isBusy(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrThrottled)
}

// Append puts an entry at the end of the user's log and wakes the user's
// devices. It is not idempotent: after an unknown outcome the entry may be there
// twice, which only tells a device the same thing again.
func (s *Service) Append(ctx context.Context, user string, e Entry) (n int64, err error) {
	err = s.until(ctx, user, func() (outcome, error) {
		h, err := s.end(ctx, user)
		if err != nil {
			return again, err
		}
		n = h.N + 1
		done, err := s.put(ctx, user, h, e)
		return wrote(done), err
	})
	return n, err
}

// end is Head for appenders.
func (s *Service) end(ctx context.Context, user string) (Head, error) {
	return s.head(ctx, user, s.Clock.Now().Add(soon))
}

// put writes entry h.N+1 if it is absent, and reports whether it did.
func (s *Service) put(ctx context.Context, user string, h Head, e Entry) (bool, error) {
	w := store.Put(store.Users, store.Key{Part: Part(user), Sort: entrySort(h.N + 1)}, store.Encode(e)).
		Until(s.Clock.Now().Add(Retention)).If(store.NotExists())
	hint := store.Update(store.Users, store.Key{Part: Part(user), Sort: logSort}).
		Set(hintAttr, h.N).Set(epochAttr, h.Epoch).
		If(store.AnyOf(store.Absent(hintAttr), store.Less(hintAttr, h.N)))
	var err error
	switch {
	case h.dead:
		// There is no entry h.N, so a hint alone would say that entries have
		// expired that never were: what is missing could not be told from what is
		// still to be written.
		err = s.DB.Transact(ctx, hint, w)
	case h.fresh || h.N+1-h.hint > hintEvery:
		if _, err = s.DB.Write(ctx, hint); err != nil && store.Failed(err) == nil {
			return false, fmt.Errorf("move hint of log of %s: %w", user, err)
		}
		fallthrough
	default:
		_, err = s.DB.Write(ctx, w)
	}
	if store.Failed(err) != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("append to log of %s: %w", user, err)
	}
	return true, nil
}

// Moved tells the user's log that the room has moved to the position: it makes
// sure that the positions up to it are in an entry, and in one only, whoever
// else does the same at the same time or died doing it. The user's own last
// transition is told in any case, so that a request that is repeated after its
// first try died can pass zero.
func (s *Service) Moved(ctx context.Context, user, room string, to Pos, counter Counter) error {
	return s.until(ctx, user, func() (outcome, error) {
		c, err := s.Cursor(ctx, user, room)
		if err != nil {
			return again, err
		}
		did, _, err := s.move(ctx, user, c, 0, max(to, c.ownPos()), counter)
		return did, err
	})
}

// ownPos is the position of the user's last own transition.
func (c Cursor) ownPos() Pos {
	if n := len(c.Transitions); n > 0 {
		return c.Transitions[n-1].Pos
	}
	return 0
}

// MovedAll is Moved for many users of one room. It reads their cursors together;
// one that somebody else moves meanwhile is read again. It returns the users with
// pushers whom an entry of the room may notify of what is after since, also if
// it was there already: whoever wrote it may have died before it was sent, or was a
// request of the user's own, which sends nothing.
func (s *Service) MovedAll(ctx context.Context, room string, since Pos, to map[string]Pos, counter Counter) (pushed []string, err error) {
	refs := make([]store.Ref, 0, len(to))
	for user := range to {
		refs = append(refs, store.Ref{Table: store.Users, Key: CursorKey(user, room)})
	}
	items, err := s.getMany(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read cursors of %s: %w", room, err)
	}
	cursors := make(map[string]Cursor, len(items))
	for _, it := range items {
		c, err := DecodeCursor(it)
		if err != nil {
			return nil, err
		}
		cursors[UserOfPart(it.Key.Part)] = c
	}
	var mu sync.Mutex
	err = each(slices.Collect(maps.Keys(to)), func(user string) error {
		to, c, read := to[user], cursors[user], true
		c.Room = room // also where there is none yet
		return s.until(ctx, user, func() (did outcome, err error) {
			if !read {
				if c, err = s.Cursor(ctx, user, room); err != nil {
					return again, err
				}
			}
			read = false
			did, push, err := s.move(ctx, user, c, since, max(to, c.ownPos()), counter)
			if push {
				mu.Lock()
				pushed = append(pushed, user)
				mu.Unlock()
			}
			return did, err
		})
	})
	return pushed, err
}

// each does something for many users, fanWidth of them at a time.
func each[T any](list []T, do func(T) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	slots := make(chan struct{}, fanWidth)
	for i, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(x)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// getMany is store.GetAll, consistent, with many batches at a time: the members
// of a large room are many.
func (s *Service) getMany(ctx context.Context, refs []store.Ref) (all []store.Item, err error) {
	var mu sync.Mutex
	err = each(slices.Collect(slices.Chunk(refs, store.MaxBatchGet)), func(some []store.Ref) error {
		items, err := s.DB.BatchGet(ctx, some, store.Consistent)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, items...)
		return err
	})
	return all, err
}

// fanWidth is how many logs are written at a time.
const fanWidth = 16

// CatchUp is Moved up to the room's head for a user who is in the room, and up
// to the own last transition for one who is not any more. The head must have
// been read before: a user who is in the room now, was there to see it or has
// come later, which the transitions tell.
func (s *Service) CatchUp(ctx context.Context, user, room string, head Pos, counter Counter) error {
	return s.until(ctx, user, func() (outcome, error) {
		c, err := s.Cursor(ctx, user, room)
		if err != nil {
			return again, err
		}
		to := c.ownPos()
		if c.Membership == "join" {
			to = max(to, head)
		}
		did, _, err := s.move(ctx, user, c, 0, to, counter)
		return did, err
	})
}

// move brings the cursor to or beyond to, with its entry in the log. It reports
// how that ended, and push if there may be something for
// pushers to send in the entry, or in one before it that is after since.
//
// The cursor is written before the entry: a cursor whose entry is missing is
// repaired by the next append, while an entry without a cursor would be told
// twice. The number in the cursor names a slot of the log that holds either
// this entry or one of another room; in the latter case a new slot is taken.
func (s *Service) move(ctx context.Context, user string, c Cursor, since, to Pos, counter Counter) (did outcome, push bool, err error) {
	h, err := s.end(ctx, user)
	if err != nil {
		return again, false, err
	}
	pushes := func(notes []Note) bool { return h.Pushers != 0 && len(notes) > 0 }
	if c.N != 0 {
		push = h.Pushers != 0 && c.From > since
		slot, free, err := s.slot(ctx, user, c, h)
		if err != nil {
			return again, false, err
		}
		if slot == nil {
			before := c
			before.To = c.From
			_, notes, err := count(ctx, counter, user, h, before, c.To)
			if err != nil {
				return again, false, err
			}
			// The slot is still free and next: fill it. Otherwise take another.
			if !free {
				if ok, err := s.claim(ctx, user, c, c.From, c.To, h.N+1, c.Unread); err != nil || !ok {
					return again, false, err
				}
			}
			done, err := s.put(ctx, user, h, Entry{Kind: KindRoom, Room: c.Room, From: c.From, To: c.To, Notes: notes})
			return wrote(done && c.To >= to), push || pushes(notes), err
		}
		push = push || pushes(slot.Notes)
	}
	if c.To >= to {
		return already, push, nil
	}
	unread, notes, err := count(ctx, counter, user, h, c, to)
	if err != nil {
		return again, false, err
	}
	ok, err := s.claim(ctx, user, c, c.To, to, h.N+1, unread)
	if err != nil || !ok {
		return again, false, err
	}
	done, err := s.put(ctx, user, h, Entry{Kind: KindRoom, Room: c.Room, From: c.To, To: to, Notes: notes})
	return wrote(done), push || pushes(notes), err
}

// count asks the counter, if there is one.
func count(ctx context.Context, counter Counter, user string, h Head, c Cursor, to Pos) (Unread, []Note, error) {
	if counter == nil {
		return c.Unread, nil, nil
	}
	unread, notes, err := counter.Count(ctx, user, h.Settings, c, to)
	if err != nil {
		return unread, nil, fmt.Errorf("count what %s has not read in %s: %w", user, c.Room, err)
	}
	return unread, fewer(notes), nil
}

// slot returns the cursor's own entry, if it is in the log (or was, and has
// expired); nil if not, and whether its slot is the next to be written.
func (s *Service) slot(ctx context.Context, user string, c Cursor, h Head) (own *Entry, free bool, err error) {
	if c.N > h.N {
		return nil, c.N == h.N+1, nil
	}
	e := h.last
	if c.N != h.last.N {
		it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: store.Key{Part: Part(user), Sort: entrySort(c.N)}}, store.Consistent)
		if errors.Is(err, store.ErrNotFound) {
			return &Entry{}, false, nil // numbers up to the head existed, so it has expired
		}
		if err != nil {
			return nil, false, fmt.Errorf("read log of %s: %w", user, err)
		}
		e = Entry{}
		if err := store.Decode(it, &e); err != nil {
			return nil, false, err
		}
	}
	if !c.is(e) {
		return nil, false, nil
	}
	return &e, false, nil
}

// is reports whether the entry in the cursor's slot is the cursor's own.
func (c Cursor) is(e Entry) bool { return e.Kind == KindRoom && e.Room == c.Room && e.To == c.To }

// claim moves the cursor to (from, to] in slot n with its counts, if nobody changed
// any of it meanwhile.
func (s *Service) claim(ctx context.Context, user string, c Cursor, from, to Pos, n int64, unread Unread) (bool, error) {
	w := store.Update(store.Users, CursorKey(user, c.Room)).
		Set("f", int64(from)).Set("o", int64(to)).Set("n", n)
	if c.N == 0 {
		w = c.asRead(w, unread, store.Absent("n"))
	} else {
		w = c.asRead(w, unread, store.Equal("n", c.N), store.Equal("o", int64(c.To)))
	}
	_, err := s.DB.Write(ctx, w)
	if store.Failed(err) != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("move cursor of %s in %s: %w", user, c.Room, err)
	}
	return true, nil
}
