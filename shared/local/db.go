package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
)

// database implements store.DB.
type database struct{ l *Local }

// readUnits is what reading size bytes costs.
func readUnits(size int, c store.Consistency) float64 {
	units := float64(max(1, (size+4095)/4096))
	if c == store.Eventual {
		units /= 2
	}
	return units
}

// Get implements store.DB.
func (d database) Get(ctx context.Context, r store.Ref, c store.Consistency) (it store.Item, err error) {
	leave, err := d.read(ctx, OpGet, []*store.Table{r.Table}, func() []store.Ref { return []store.Ref{r} })
	if err != nil {
		return store.Item{}, err
	}
	defer leave(&err)
	if err := checkKey(r.Key); err != nil {
		return store.Item{}, err
	}
	it, size, err := d.l.item(r, c)
	if err != nil {
		return store.Item{}, err
	}
	store.Count(ctx, r.Table, readUnits(size, c), 0)
	if !it.Exists() {
		return store.Item{}, store.ErrNotFound
	}
	return it, nil
}

// BatchGet implements store.DB.
func (d database) BatchGet(ctx context.Context, refs []store.Ref, c store.Consistency) (items []store.Item, err error) {
	var tables []*store.Table
	for _, r := range refs {
		if len(tables) == 0 || tables[len(tables)-1] != r.Table {
			tables = append(tables, r.Table)
		}
	}
	leave, err := d.read(ctx, OpBatchGet, tables, func() []store.Ref { return refs })
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	if len(refs) > store.MaxBatchGet {
		return nil, fmt.Errorf("a batch of %d keys; at most %d are read at once", len(refs), store.MaxBatchGet)
	}
	seen := make(map[store.Ref]bool, len(refs))
	for _, r := range refs {
		if err := checkKey(r.Key); err != nil {
			return nil, err
		}
		if seen[r] {
			return nil, fmt.Errorf("batch: %s is asked for twice", r.Key)
		}
		seen[r] = true
	}
	cost := map[*store.Table]float64{}
	for _, r := range refs {
		it, size, err := d.l.item(r, c)
		if err != nil {
			return nil, err
		}
		cost[r.Table] += readUnits(size, c)
		if it.Exists() {
			items = append(items, it)
		}
	}
	for t, units := range cost {
		store.Count(ctx, t, units, 0)
	}
	return items, nil
}

// read begins a reading call: grants, then faults.
func (d database) read(ctx context.Context, op Op, tables []*store.Table, refs func() []store.Ref) (func(*error), error) {
	for _, t := range tables {
		if err := grant.Check(ctx, grant.Table, t.Name, grant.Read); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.l.enter(op, false, "", refs)
}

// item reads one item and its size; neither is the zero item and no size.
func (l *Local) item(r store.Ref, c store.Consistency) (store.Item, int, error) {
	prefix := partPrefix(r.Table, r.Key.Part)
	s := l.stripe(prefix)
	key := append(prefix, r.Key.Sort...)
	if l.lag != nil && c == store.Eventual {
		raw, err := l.laggedGet(key)
		if raw == nil || err != nil {
			return store.Item{}, 0, err
		}
		return decode(r.Key, raw)
	}
	it, size, err := l.stored(r.Key, key)
	s.waitDurable()
	return it, size, err
}

// stored reads an item as it is now, durable or not.
func (l *Local) stored(k store.Key, key []byte) (store.Item, int, error) {
	raw, closer, err := l.pdb.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return store.Item{}, 0, nil
	}
	if err != nil {
		return store.Item{}, 0, fmt.Errorf("read %s: %w", k, err)
	}
	defer closer.Close()
	it, size, err := decode(k, raw)
	if err != nil {
		return store.Item{}, 0, fmt.Errorf("read %s: %w", k, err)
	}
	return it, size, nil
}

// Query implements store.DB.
func (d database) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	leave, err := d.read(ctx, OpQuery, []*store.Table{q.Table}, func() []store.Ref {
		return []store.Ref{{Table: q.Table, Key: store.Key{Part: q.Part}}}
	})
	if err != nil {
		return store.Page{}, err
	}
	defer leave(&err)
	if err := checkPart(q.Part); err != nil {
		return store.Page{}, err
	}
	if q.Limit < 0 {
		return store.Page{}, fmt.Errorf("query of %s: the limit is negative", q.Part)
	}
	prefix := partPrefix(q.Table, q.Part)
	s := d.l.stripe(prefix)
	lower, upper := bounds(prefix, q)
	var rows cursor
	if d.l.lag != nil && q.Consistency == store.Eventual {
		rows, err = d.l.laggedRows(prefix, lower, upper, q.Reverse)
	} else {
		rows, err = d.l.rows(lower, upper, q.Reverse)
	}
	if err != nil {
		return store.Page{}, fmt.Errorf("query %s: %w", q.Part, err)
	}
	page, size, err := readPage(q, rows, len(prefix))
	if err = errors.Join(err, rows.close()); err != nil {
		return store.Page{}, fmt.Errorf("query %s: %w", q.Part, err)
	}
	s.waitDurable()
	store.Count(ctx, q.Table, readUnits(size, q.Consistency), 0)
	return page, nil
}

// bounds returns the range of keys that the query may answer: lower included,
// upper excluded.
func bounds(prefix []byte, q store.Query) (lower, upper []byte) {
	join := func(sort, end string) []byte {
		b := make([]byte, 0, len(prefix)+len(sort)+len(end))
		return append(append(append(b, prefix...), sort...), end...)
	}
	lower, upper = join(q.From, ""), partEnd(prefix)
	if q.To != "" {
		upper = join(q.To, "\x00")
	}
	if q.After == "" {
		return lower, upper
	}
	if q.Reverse {
		return lower, minKey(upper, join(q.After, ""))
	}
	return maxKey(lower, join(q.After, "\x00")), upper
}

func minKey(a, b []byte) []byte {
	if string(a) < string(b) {
		return a
	}
	return b
}

func maxKey(a, b []byte) []byte {
	if string(a) > string(b) {
		return a
	}
	return b
}

// readPage reads until the limit or the page is full. As in DynamoDB, a page
// that ends at the limit has a Next even if nothing follows.
func readPage(q store.Query, rows cursor, prefix int) (page store.Page, size int, err error) {
	for rows.next() {
		key, raw := rows.row()
		it, n, err := decode(store.Key{Part: q.Part, Sort: string(key[prefix:])}, raw)
		if err != nil {
			return page, size, err
		}
		if size+n > store.MaxPage {
			page.Next = page.Items[len(page.Items)-1].Key.Sort
			break
		}
		page.Items = append(page.Items, it)
		if size += n; len(page.Items) == q.Limit {
			page.Next = it.Key.Sort
			break
		}
	}
	return page, size, nil
}

// cursor walks over stored items. What row returns is valid until next.
type cursor interface {
	next() bool
	row() (key, raw []byte)
	close() error
}

// rows walks over the items as they are now.
func (l *Local) rows(lower, upper []byte, reverse bool) (cursor, error) {
	if string(lower) >= string(upper) {
		return &fixed{}, nil
	}
	it, err := l.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return &walk{it: it, reverse: reverse}, nil
}

type walk struct {
	it      *pebble.Iterator
	reverse bool
	begun   bool
}

func (w *walk) next() bool {
	first := !w.begun
	w.begun = true
	switch {
	case first && w.reverse:
		return w.it.Last()
	case first:
		return w.it.First()
	case w.reverse:
		return w.it.Prev()
	}
	return w.it.Next()
}

func (w *walk) row() (key, raw []byte) { return w.it.Key(), w.it.Value() }
func (w *walk) close() error           { return w.it.Close() }

// fixed is a cursor over a list.
type fixed struct {
	keys, raws [][]byte
	i          int
}

func (f *fixed) next() bool             { f.i++; return f.i <= len(f.keys) }
func (f *fixed) row() (key, raw []byte) { return f.keys[f.i-1], f.raws[f.i-1] }
func (f *fixed) close() error           { return nil }
