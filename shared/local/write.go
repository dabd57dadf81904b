package local

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
)

// A stripe serialises the writes of the partitions that hash to it. Its lock is
// held from reading the old items until the new ones are visible in Pebble, not
// while they are synced.
type stripe struct {
	mu      sync.Mutex
	pending atomic.Pointer[commit] // the newest commit; its sync may run
}

const stripeCount = 512

// A commit is a batch that is visible and may not be durable yet.
type commit struct{ durable chan struct{} }

// stripe returns the stripe of the partition with this key prefix.
func (l *Local) stripe(prefix []byte) *stripe { return &l.stripes[l.stripeIndex(prefix)] }

func (l *Local) stripeIndex(prefix []byte) int {
	return int(maphash.Bytes(l.seed, prefix) % stripeCount)
}

// waitDurable returns when all that a read of the stripe saw before this call
// is durable. Commits of a stripe become durable in order, so the newest one
// stands for all.
func (s *stripe) waitDurable() {
	if c := s.pending.Load(); c != nil {
		<-c.durable
	}
}

// change is a write on its way: what is stored, and what will be.
type change struct {
	w       store.Write
	key     []byte
	old     store.Item
	new     store.Item
	oldSize int
	newSize int
}

// Write implements store.DB.
func (d database) Write(ctx context.Context, w store.Write) (it store.Item, err error) {
	if w.Op == store.OpCheck {
		return store.Item{}, errors.New("a check is part of a transaction")
	}
	changes, err := d.write(ctx, OpWrite, 1, w)
	if err != nil {
		return store.Item{}, err
	}
	return changes[0].new, nil
}

// Transact implements store.DB.
func (d database) Transact(ctx context.Context, ws ...store.Write) error {
	if len(ws) == 0 {
		return nil
	}
	if len(ws) > store.MaxTransact {
		return fmt.Errorf("a transaction of %d writes; at most %d are allowed", len(ws), store.MaxTransact)
	}
	_, err := d.write(ctx, OpTransact, 2, ws...)
	return err
}

// write makes the writes, all or none. A write unit costs factor.
func (d database) write(ctx context.Context, op Op, factor float64, ws ...store.Write) (changes []change, err error) {
	for i, w := range ws {
		if i > 0 && w.Table == ws[i-1].Table {
			continue
		}
		if err := grant.Check(ctx, grant.Table, w.Table.Name, grant.Write); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave, err := d.l.enter(op, true, "", func() (refs []store.Ref) {
		for _, w := range ws {
			refs = append(refs, store.Ref{Table: w.Table, Key: w.Key})
		}
		return refs
	})
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	changes = make([]change, len(ws))
	var few [4]int
	stripes := few[:0]
	for i, w := range ws {
		if err := checkWrite(w); err != nil {
			return nil, err
		}
		prefix := partPrefix(w.Table, w.Key.Part)
		stripes = append(stripes, d.l.stripeIndex(prefix))
		changes[i] = change{w: w, key: append(prefix, w.Key.Sort...)}
	}
	if err := distinct(changes); err != nil {
		return nil, err
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	failed, err := d.l.change(stripes, changes)
	if err != nil {
		return nil, err
	}
	countWrites(ctx, factor, changes)
	if failed != nil {
		return nil, failed
	}
	return changes, nil
}

func distinct(changes []change) error {
	if len(changes) == 1 {
		return nil
	}
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		if seen[string(c.key)] {
			return fmt.Errorf("transaction: %s is written twice", c.w.Key)
		}
		seen[string(c.key)] = true
	}
	return nil
}

// change reads, decides and writes under the locks of the stripes. It returns
// when everything that it saw or did is durable.
func (l *Local) change(stripes []int, changes []change) (*store.ConditionFailed, error) {
	for _, i := range stripes {
		l.stripes[i].mu.Lock()
	}
	locked := true
	unlock := func() {
		if !locked {
			return
		}
		locked = false
		for _, i := range slices.Backward(stripes) {
			l.stripes[i].mu.Unlock()
		}
	}
	defer unlock()
	failed, err := l.decide(changes)
	if err != nil {
		return nil, err
	}
	if failed != nil {
		unlock()
		for _, i := range stripes {
			l.stripes[i].waitDurable()
		}
		return failed, nil
	}
	batch := l.pdb.NewBatch()
	records, err := l.fill(batch, changes)
	if err != nil {
		records.abort()
		batch.Close()
		return nil, err
	}
	if batch.Empty() { // only checks and deletes of nothing
		unlock()
		batch.Close()
		for _, i := range stripes {
			l.stripes[i].waitDurable()
		}
		return nil, nil
	}
	c := &commit{durable: make(chan struct{})}
	for _, i := range stripes {
		l.stripes[i].pending.Store(c)
	}
	return nil, l.commit(batch, c, records, unlock)
}

// commit makes the batch visible, unlocks, and returns when it is durable.
// Pebble does not return from a log that it cannot write, so that an error here
// means that nothing was written.
func (l *Local) commit(batch *pebble.Batch, c *commit, records records, unlock func()) error {
	var err error
	if l.opt.NoSync {
		err = l.pdb.Apply(batch, pebble.NoSync)
		unlock()
	} else if err = l.pdb.ApplyNoSyncWait(batch, pebble.Sync); err == nil {
		unlock()
		err = batch.SyncWait()
	} else {
		unlock()
	}
	close(c.durable)
	records.publish()
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return batch.Close()
}

// decide reads the old items, evaluates the conditions, and computes the new
// items.
func (l *Local) decide(changes []change) (failed *store.ConditionFailed, err error) {
	total := 0
	for i := range changes {
		c := &changes[i]
		if c.old, c.oldSize, err = l.stored(c.w.Key, c.key); err != nil {
			return nil, err
		}
		if c.new, err = apply(c.w, c.old); err != nil {
			return nil, err
		}
		if c.new.Exists() {
			c.newSize = store.Size(c.new)
		}
		if c.newSize > store.MaxItemSize {
			return nil, fmt.Errorf("write %s: the item has %d bytes; at most %d are stored", c.w.Key, c.newSize, store.MaxItemSize)
		}
		if !holds(c.w.Cond, c.old) {
			if failed == nil {
				failed = &store.ConditionFailed{Failed: map[int]store.Item{}}
			}
			failed.Failed[i] = c.old
		}
		total += c.newSize
	}
	if len(changes) > 1 && total > store.MaxTransactBytes {
		return nil, fmt.Errorf("a transaction of %d bytes; at most %d are allowed", total, store.MaxTransactBytes)
	}
	return failed, nil
}

// fill writes the changes, their expiry index and their change records into the
// batch.
func (l *Local) fill(batch *pebble.Batch, changes []change) (records records, err error) {
	var value []byte
	for i := range changes {
		c := &changes[i]
		if c.w.Op == store.OpCheck || !c.old.Exists() && !c.new.Exists() {
			continue
		}
		if l.lag != nil {
			l.remember(c.key, c.old)
		}
		if c.new.Exists() {
			if value, err = encode(value[:0], c.new); err != nil {
				return records, err
			}
			err = batch.Set(c.key, value, nil)
		} else {
			err = batch.Delete(c.key, nil)
		}
		if err == nil && !c.old.Expires.IsZero() && !c.old.Expires.Equal(c.new.Expires) {
			err = batch.Delete(expiryKey(c.old.Expires.Unix(), c.key), nil)
		}
		if err == nil && !c.new.Expires.IsZero() && !c.old.Expires.Equal(c.new.Expires) {
			err = batch.Set(expiryKey(c.new.Expires.Unix(), c.key), nil, nil)
		}
		if s := l.streams[c.w.Table]; err == nil && s != nil {
			err = records.add(batch, s, c.w.Key, false)
		}
		if err != nil {
			return records, err
		}
	}
	return records, nil
}

// countWrites counts as DynamoDB bills: by the larger of the old and the new
// item, also where the condition failed.
func countWrites(ctx context.Context, factor float64, changes []change) {
	if len(changes) == 1 {
		store.Count(ctx, changes[0].w.Table, 0, factor*writeUnits(changes[0]))
		return
	}
	cost := map[*store.Table]float64{}
	for _, c := range changes {
		cost[c.w.Table] += factor * writeUnits(c)
	}
	for t, units := range cost {
		store.Count(ctx, t, 0, units)
	}
}

func writeUnits(c change) float64 {
	return float64(max(1, (max(c.oldSize, c.newSize)+1023)/1024))
}
