package local

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/store"
)

// sweepForever deletes what has expired, now and then.
func (l *Local) sweepForever() {
	for l.pause(context.Background(), l.opt.SweepEvery) == nil {
		if err := l.Sweep(); err != nil && l.err() == nil {
			l.log.Error("sweep", "error", err)
		}
	}
}

// Sweep deletes the items whose time to live has passed, and publishes their
// changes as Expired. It runs by itself every SweepEvery.
func (l *Local) Sweep() error {
	for _, m := range l.queues {
		if err := m.forgetDuplicates(); err != nil {
			return err
		}
	}
	for {
		more, err := l.sweepSome()
		if err != nil || !more {
			return err
		}
	}
}

// sweepSome deletes up to a hundred items under one hold of the gate.
func (l *Local) sweepSome() (more bool, err error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return false, err
	}
	now := l.clock.Now().Unix()
	var due [][]byte
	it, err := l.pdb.NewIter(&pebble.IterOptions{
		LowerBound: []byte{keyExpiry},
		UpperBound: expiryKey(now+1, nil),
	})
	if err != nil {
		return false, err
	}
	for ok := it.First(); ok && len(due) < 100; ok = it.Next() {
		due = append(due, append([]byte(nil), it.Key()...))
	}
	if err := it.Close(); err != nil {
		return false, err
	}
	for i, key := range due {
		if err := l.expire(key, now, i == len(due)-1); err != nil {
			return false, err
		}
	}
	return len(due) == 100, nil
}

// expire deletes the item that an entry of the expiry index names, if that is
// still its time. Only the last one of many is synced.
func (l *Local) expire(entry []byte, now int64, sync bool) error {
	key := entry[9:]
	table, k, ok := splitItemKey(key)
	if !ok {
		return l.pdb.Delete(entry, pebble.NoSync)
	}
	prefix := partPrefix(&store.Table{Name: table}, k.Part)
	s := l.stripe(prefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := l.pdb.NewBatch()
	defer batch.Close()
	var records records
	raw, closer, err := l.pdb.Get(key)
	if err == nil {
		seconds, has := expiry(raw)
		if has && seconds <= now {
			if l.lag != nil {
				if old, _, err := decode(k, raw); err == nil {
					l.remember(key, old)
				}
			}
			err = batch.Delete(key, nil)
			if s := l.streamNamed(table); s != nil && err == nil {
				err = records.add(batch, s, k, true)
			}
		}
		closer.Close()
	} else if err == pebble.ErrNotFound {
		err = nil
	}
	if err == nil {
		err = batch.Delete(entry, nil)
	}
	if err == nil {
		opts := pebble.NoSync
		if sync {
			opts = l.syncOptions()
		}
		err = l.pdb.Apply(batch, opts)
	}
	records.publish()
	return err
}

func (l *Local) streamNamed(table string) *stream {
	for t, s := range l.streams {
		if t.Name == table {
			return s
		}
	}
	return nil
}
