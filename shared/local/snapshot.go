package local

import (
	"context"
	"errors"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/store"
)

// Snapshot is all tables as they were at one moment: each transaction is there
// whole or not at all. It is for those who export a whole server, and is not part
// of store.DB: no grant allows it.
type Snapshot struct {
	l *Local
	s *pebble.Snapshot
}

// Snapshot returns what is stored now. Close it before the Local.
func (l *Local) Snapshot() (*Snapshot, error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return nil, err
	}
	return &Snapshot{l, l.pdb.NewSnapshot()}, nil
}

// Items yields every item of a table, by the order of their keys.
func (s *Snapshot) Items(ctx context.Context, t *store.Table) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		prefix := named(keyItem, t.Name)
		it, err := s.s.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: partEnd(prefix)})
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		for ok := it.First(); ok; ok = it.Next() {
			item, err := s.item(ctx, it.Key(), it.Value())
			if !yield(item, err) || err != nil {
				_ = it.Close() // it was read as far as it was wanted
				return
			}
		}
		if err := it.Close(); err != nil {
			yield(store.Item{}, err)
		}
	}
}

func (s *Snapshot) item(ctx context.Context, key, value []byte) (store.Item, error) {
	if err := errors.Join(ctx.Err(), s.l.err()); err != nil {
		return store.Item{}, err
	}
	_, k, ok := splitItemKey(key)
	if !ok {
		return store.Item{}, errCorrupt
	}
	item, _, err := decode(k, value)
	return item, err
}

// Close releases the snapshot.
func (s *Snapshot) Close() error { return s.s.Close() }
