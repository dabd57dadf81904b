package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/store"
)

// A stream is the change stream of a table. Its records are numbered in the
// order of the writes of each item, stored in the batch of the write itself,
// and deleted when every follower has handled them.
type stream struct {
	table *store.Table

	mu        sync.Mutex
	last      uint64   // the newest number that was given out
	open      []uint64 // given out and not durable yet, ascending
	trimmed   uint64   // records up to here are deleted
	cursors   map[string]uint64
	followers map[string]chan struct{} // those now following
}

// maxChanges is how many changes a follower gets at once.
const maxChanges = 100

func (l *Local) loadStream(t *store.Table) (*stream, error) {
	s := &stream{table: t, cursors: map[string]uint64{}, followers: map[string]chan struct{}{}}
	err := l.scan(named(keyCursor, t.Name), func(key, value []byte) error {
		if len(value) != 8 {
			return fmt.Errorf("cursor %q: %w", key, errCorrupt)
		}
		name := string(key[len(named(keyCursor, t.Name)):])
		s.cursors[name] = binary.BigEndian.Uint64(value)
		s.last = max(s.last, s.cursors[name])
		return nil
	})
	if err != nil {
		return nil, err
	}
	after := s.last // what every follower has handled is deleted: do not look there
	for _, at := range s.cursors {
		after = min(after, at)
	}
	first, last, err := l.span(numbered(keyStream, t.Name, after+1), partEnd(named(keyStream, t.Name)))
	if err != nil {
		return nil, err
	}
	if s.last = max(s.last, last); first > 0 {
		s.trimmed = first - 1
	} else {
		s.trimmed = s.last
	}
	return s, nil
}

// scan calls f for everything under the prefix.
func (l *Local) scan(prefix []byte, f func(key, value []byte) error) error {
	it, err := l.pdb.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: partEnd(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = f(it.Key(), it.Value())
	}
	return errors.Join(err, it.Close())
}

// span returns the first and the last number in a range of keys, or zeros.
func (l *Local) span(lower, upper []byte) (first, last uint64, err error) {
	it, err := l.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, 0, err
	}
	if it.First() {
		first = number(it.Key())
	}
	if it.Last() {
		last = number(it.Key())
	}
	return first, last, it.Close()
}

// records are the change records of one batch.
type records []record

type record struct {
	s *stream
	n uint64
}

// add numbers a change and writes its record into the batch. It is called under
// the lock of the item's stripe, which keeps the order of each item.
func (r *records) add(batch *pebble.Batch, s *stream, k store.Key, expired bool) error {
	s.mu.Lock()
	s.last++
	n := s.last
	s.open = append(s.open, n)
	s.mu.Unlock()
	*r = append(*r, record{s, n})
	return batch.Set(numbered(keyStream, s.table.Name, n), encodeChange(k, expired), nil)
}

// publish lets followers see the records. It is called when they are durable.
func (r records) publish() {
	for _, rec := range r {
		s := rec.s
		s.mu.Lock()
		if i, ok := slices.BinarySearch(s.open, rec.n); ok {
			s.open = slices.Delete(s.open, i, i+1)
		}
		for _, c := range s.followers {
			select {
			case c <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
	}
}

// abort gives up the numbers of a batch that is not written.
func (r records) abort() { r.publish() }

// ready returns the number up to which all records are durable or will never be.
func (s *stream) ready() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		return s.open[0] - 1
	}
	return s.last
}

func encodeChange(k store.Key, expired bool) []byte {
	b := make([]byte, 0, 2+binary.MaxVarintLen16+len(k.Part)+len(k.Sort))
	b = append(b, version1, 0)
	if expired {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(k.Part)))
	return append(append(b, k.Part...), k.Sort...)
}

func (s *stream) decodeChange(b []byte) (store.Change, error) {
	if len(b) < 2 || b[0] != version1 {
		return store.Change{}, fmt.Errorf("change record: %w", errCorrupt)
	}
	d := reader{rest: b[2:]}
	c := store.Change{Table: s.table, Expired: b[1] == 1}
	c.Key.Part = string(d.take())
	c.Key.Sort = string(d.rest)
	if d.bad {
		return store.Change{}, fmt.Errorf("change record: %w", errCorrupt)
	}
	return c, nil
}

// Follow calls handle with the changes of the stream until ctx or the Local
// ends, which is the error it returns. Changes are delivered at least once, in
// order for each item; an error is logged and the batch delivered again after a
// pause. The name identifies the follower across restarts: it goes on after the
// last batch that it handled, and records are kept for it from its first Follow
// until Forget. A new follower begins with the oldest record that is still
// there. handle gets ctx.
func (l *Local) Follow(ctx context.Context, cs store.ChangeStream, name string, handle func(context.Context, []store.Change) error) error {
	s := l.streams[cs.Table]
	if s == nil {
		return fmt.Errorf("follow %s: the table %s has no change stream", name, cs.Table.Name)
	}
	wakeup := make(chan struct{}, 1)
	at, err := l.join(s, name, wakeup)
	if err != nil {
		return fmt.Errorf("follow %s: %w", cs, err)
	}
	defer func() {
		s.mu.Lock()
		delete(s.followers, name)
		s.mu.Unlock()
		l.activity.bump()
	}()
	for {
		if ready := s.ready(); ready > at {
			changes, upto, err := l.changes(s, at, ready)
			if err == nil && len(changes) > 0 {
				err = l.deliver(ctx, s, name, changes, handle)
			}
			if err == nil {
				err = l.move(ctx, s, name, upto)
			}
			if err != nil {
				return err
			}
			at = upto
			continue
		}
		select {
		case <-wakeup:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			return l.err()
		}
	}
}

// join makes a follower known, so that records are kept for it from now on, and
// returns its cursor.
func (l *Local) join(s *stream, name string, wakeup chan struct{}) (at uint64, err error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[name] != nil {
		return 0, fmt.Errorf("%s follows already", name)
	}
	at, known := s.cursors[name]
	if !known {
		at = s.trimmed
		key := append(named(keyCursor, s.table.Name), name...)
		if err := l.pdb.Set(key, binary.BigEndian.AppendUint64(nil, at), pebble.NoSync); err != nil {
			return 0, err
		}
	}
	s.cursors[name], s.followers[name] = at, wakeup
	return at, nil
}

// changes reads records after a number. It returns the number up to which it
// read.
func (l *Local) changes(s *stream, after, ready uint64) (changes []store.Change, upto uint64, err error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return nil, 0, err
	}
	it, err := l.pdb.NewIter(&pebble.IterOptions{
		LowerBound: numbered(keyStream, s.table.Name, after+1),
		UpperBound: numbered(keyStream, s.table.Name, ready+1),
	})
	if err != nil {
		return nil, 0, err
	}
	upto = ready
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if len(changes) == maxChanges {
			upto = number(it.Key()) - 1
			break
		}
		var c store.Change
		c, err = s.decodeChange(it.Value())
		changes = append(changes, c)
	}
	return changes, upto, errors.Join(err, it.Close())
}

// deliver calls handle until it succeeds.
func (l *Local) deliver(ctx context.Context, s *stream, name string, changes []store.Change, handle func(context.Context, []store.Change) error) error {
	if l.opt.Lose != nil {
		if changes = slices.DeleteFunc(changes, l.opt.Lose); len(changes) == 0 {
			return nil
		}
	}
	batches := [][]store.Change{changes}
	if l.opt.Shuffle {
		batches = l.shuffled(changes)
	}
	for _, b := range batches {
		for attempts := 1; ; attempts++ {
			err := handle(ctx, slices.Clone(b))
			if ended := errors.Join(ctx.Err(), l.err()); ended != nil {
				return ended
			}
			if err == nil {
				break
			}
			l.log.ErrorContext(ctx, "follow changes", "stream", s.table.Name, "follower", name, "attempt", attempts, "error", err)
			if err := l.pause(ctx, l.backoff(attempts)); err != nil {
				return err
			}
		}
	}
	return nil
}

// move makes the cursor durable and deletes what every follower has handled.
// The cursor is not synced: after a crash of the machine changes come again.
func (l *Local) move(ctx context.Context, s *stream, name string, upto uint64) (err error) {
	for {
		leave, err := l.enter(OpCursor, true, s.table.Name, nil)
		if err == nil {
			err = l.moveNow(s, name, upto)
			leave(&err)
			l.activity.bump()
			return err
		}
		if ended := errors.Join(ctx.Err(), l.err()); ended != nil {
			return err
		}
		if err := l.pause(ctx, l.opt.RetryAfter); err != nil { // throttled
			return err
		}
	}
}

func (l *Local) moveNow(s *stream, name string, upto uint64) error {
	batch := l.pdb.NewBatch()
	defer batch.Close()
	key := append(named(keyCursor, s.table.Name), name...)
	if err := batch.Set(key, binary.BigEndian.AppendUint64(nil, upto), nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[name] = upto
	from, to := s.trimmed, upto
	for _, at := range s.cursors {
		to = min(to, at)
	}
	if to > from+10*maxChanges { // after a Forget
		err := batch.DeleteRange(numbered(keyStream, s.table.Name, from), numbered(keyStream, s.table.Name, to+1), nil)
		if err != nil {
			return err
		}
		from = to
	}
	for n := from + 1; n <= to; n++ {
		if err := batch.Delete(numbered(keyStream, s.table.Name, n), nil); err != nil {
			return err
		}
	}
	s.trimmed = max(s.trimmed, to)
	return l.pdb.Apply(batch, pebble.NoSync)
}

// settled reports whether every present follower has handled everything.
func (s *stream) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.followers {
		if s.cursors[name] < s.last {
			return false
		}
	}
	return true
}

// Forget drops the cursor of a follower that will never come back, so that no
// records are kept for it.
func (l *Local) Forget(cs store.ChangeStream, name string) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return err
	}
	s := l.streams[cs.Table]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[name] != nil {
		return fmt.Errorf("forget %s: it is following", name)
	}
	delete(s.cursors, name)
	return l.pdb.Delete(append(named(keyCursor, s.table.Name), name...), l.syncOptions())
}

// shuffled cuts changes into batches that repeat some and mix the items, each
// item's changes staying in order.
func (l *Local) shuffled(changes []store.Change) [][]store.Change {
	var keys []store.Key
	byKey := map[store.Key][]store.Change{}
	for _, c := range changes {
		if byKey[c.Key] == nil {
			keys = append(keys, c.Key)
		}
		byKey[c.Key] = append(byKey[c.Key], c)
	}
	var mixed []store.Change
	for len(keys) > 0 {
		i := l.randN(len(keys))
		k := keys[i]
		mixed = append(mixed, byKey[k][0])
		if byKey[k] = byKey[k][1:]; len(byKey[k]) == 0 {
			keys = slices.Delete(keys, i, i+1)
		}
	}
	var batches [][]store.Change
	for len(mixed) > 0 {
		n := 1 + l.randN(len(mixed))
		batches = append(batches, mixed[:n])
		if l.randN(3) == 0 { // handled, but the answer was lost
			batches = append(batches, mixed[:n])
		}
		mixed = mixed[n:]
	}
	return batches
}
