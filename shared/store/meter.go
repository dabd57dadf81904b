package store

import (
	"context"
	"fmt"
	"maps"
	"sync"
)

// Capacity is consumed capacity in DynamoDB's units: a write unit is 1 KB, a
// read unit 4 KB consistent or 8 KB eventual, a transaction costs twice.
type Capacity struct {
	Reads, Writes float64
	Calls         int
}

func (c Capacity) plus(reads, writes float64) Capacity {
	return Capacity{c.Reads + reads, c.Writes + writes, c.Calls + 1}
}

// Meter sums the capacity that the calls made with its context consumed. It is
// safe for concurrent use.
type Meter struct {
	mu     sync.Mutex
	total  Capacity
	tables map[string]Capacity
}

type meterKey struct{}

// WithMeter returns a context whose store calls are counted by the meter, and
// by the meters that ctx has already.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	outer, _ := ctx.Value(meterKey{}).([]*Meter)
	return context.WithValue(ctx, meterKey{}, append(outer[:len(outer):len(outer)], m))
}

// Count adds one call to the meters in ctx. Implementations of DB call it.
func Count(ctx context.Context, t *Table, reads, writes float64) {
	meters, _ := ctx.Value(meterKey{}).([]*Meter)
	for _, m := range meters {
		m.mu.Lock()
		if m.tables == nil {
			m.tables = map[string]Capacity{}
		}
		m.total = m.total.plus(reads, writes)
		m.tables[t.Name] = m.tables[t.Name].plus(reads, writes)
		m.mu.Unlock()
	}
}

// Total returns what was consumed so far.
func (m *Meter) Total() Capacity {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

// Tables returns what was consumed by table name.
func (m *Meter) Tables() map[string]Capacity {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.tables)
}

// String prints reads, writes and calls.
func (c Capacity) String() string {
	return fmt.Sprintf("%.1f RU, %.1f WU, %d calls", c.Reads, c.Writes, c.Calls)
}

// Size returns the bytes of an item as DynamoDB counts them: names and values,
// with the key.
func Size(it Item) int {
	n := len(PartAttr) + len(it.Key.Part) + len(SortAttr) + len(it.Key.Sort)
	for name, v := range it.Attrs {
		n += len(name) + valueSize(v)
	}
	if !it.Expires.IsZero() {
		n += len(TTL) + valueSize(it.Expires.Unix())
	}
	return n
}

// valueSize is the documented size of a value; a number takes a byte for two
// digits and one more.
func valueSize(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	case bool:
		return 1
	case int64:
		digits := 1
		if v < 0 {
			digits++
		}
		for v /= 10; v != 0; v /= 10 {
			digits++
		}
		return (digits+1)/2 + 1
	}
	return 0
}
