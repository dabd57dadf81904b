// Package store is the database contract: items under a partition key and a
// sort key, conditional writes, transactions and change streams.
//
// It is shaped on the strictest store we run on, DynamoDB, and the embedded
// store in shared/local imitates it. storetest.Run is the contract as a test;
// both implementations pass it. Domains are written once, above DB, and know
// neither implementation. The package knows no Matrix beyond the names of the
// tables (tables.go).
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Limits of the contract. They are DynamoDB's.
const (
	MaxItemSize      = 400 << 10 // bytes of an item, names included
	MaxTransact      = 100       // writes in a transaction
	MaxTransactBytes = 4 << 20   // bytes of all items of a transaction
	MaxBatchGet      = 100       // keys of a batch read
	MaxPage          = 1 << 20   // bytes that one Query reads
	MaxPartKey       = 2048      // bytes of a partition key
	MaxSortKey       = 1024      // bytes of a sort key
)

// Key names an item in a table. Both parts are non-empty UTF-8; items of a
// partition are ordered by the bytes of Sort.
type Key struct{ Part, Sort string }

// String is for errors and logs.
func (k Key) String() string { return k.Part + " / " + k.Sort }

// Attrs are the attributes of an item besides its key. Values are string,
// int64, bool or []byte; any other type is a programming error that every
// implementation reports. Names are short, constant and plain ASCII. The
// attribute named TTL is reserved (see Item.Expires).
type Attrs map[string]any

// TTL is the reserved attribute that holds Item.Expires, in seconds since the
// Unix epoch. PartAttr and SortAttr hold the key.
const (
	PartAttr = "p"
	SortAttr = "s"
	TTL      = "ttl"
)

// An Item is one row.
type Item struct {
	Key   Key
	Attrs Attrs
	// Expires is when the item may be deleted without anyone asking; zero means
	// never. The deletion happens at some time after Expires, so readers compare
	// it themselves where it matters.
	Expires time.Time
}

// Exists reports whether the item was found.
func (it Item) Exists() bool { return it.Key.Part != "" }

// Str, Int, Bool and Bytes return the attribute, or the zero value if it is
// absent or of another type.
func (it Item) Str(name string) string { v, _ := it.Attrs[name].(string); return v }

// Int returns an integer attribute.
func (it Item) Int(name string) int64 { v, _ := it.Attrs[name].(int64); return v }

// Bool returns a boolean attribute.
func (it Item) Bool(name string) bool { v, _ := it.Attrs[name].(bool); return v }

// Bytes returns a binary attribute.
func (it Item) Bytes(name string) []byte { v, _ := it.Attrs[name].([]byte); return v }

// Ref is a key in a table.
type Ref struct {
	Table *Table
	Key   Key
}

// Consistency of a read. A consistent read sees every write that was
// acknowledged before it began, and costs twice as much as an eventual one.
type Consistency bool

// The two consistencies.
const (
	Consistent Consistency = true
	Eventual   Consistency = false
)

// Query reads a range of one partition in the order of the sort key.
type Query struct {
	Table *Table
	Part  string
	// From and To bound the sort key, both inclusive; empty means unbounded.
	From, To string
	// After excludes everything up to and including this sort key in the
	// direction of the query. It is how the next page is asked for.
	After string
	// Reverse reads from the highest sort key to the lowest.
	Reverse bool
	// Limit is the largest number of items to return; zero means as many as fit
	// a page of MaxPage bytes.
	Limit       int
	Consistency Consistency
}

// Prefix returns the query restricted to sort keys that start with p.
func (q Query) Prefix(p string) Query {
	q.From, q.To = p, p+"\U0010FFFF"
	return q
}

// A Page is one answer to a Query.
type Page struct {
	Items []Item
	// Next is the After of the query for the following page, or empty when the
	// range is exhausted.
	Next string
}

// Op is the kind of a Write.
type Op uint8

// The kinds of writes.
const (
	OpPut    Op = iota // replace the whole item
	OpUpdate           // change some attributes, creating the item if absent
	OpDelete           // remove the item; absent is fine
	OpCheck            // only check the condition (transactions only)
)

// A Write is one conditional change of one item. Build it with Put, Update,
// Delete or Check and the methods that return an extended copy.
type Write struct {
	Op    Op
	Table *Table
	Key   Key
	// Attrs is the whole item of a put.
	Attrs Attrs
	// SetAttrs, AddAttrs and RemoveAttrs are the parts of an update. Adding to
	// an absent attribute starts at zero.
	SetAttrs    Attrs
	AddAttrs    map[string]int64
	RemoveAttrs []string
	// Expires sets the time to live of a put, or changes it in an update unless
	// zero.
	Expires time.Time
	Cond    Cond
}

// Put replaces the item.
func Put(t *Table, k Key, a Attrs) Write { return Write{Op: OpPut, Table: t, Key: k, Attrs: a} }

// Update changes attributes of the item; follow it by Set, Add and Remove.
func Update(t *Table, k Key) Write { return Write{Op: OpUpdate, Table: t, Key: k} }

// Delete removes the item.
func Delete(t *Table, k Key) Write { return Write{Op: OpDelete, Table: t, Key: k} }

// Check only checks a condition, as part of a transaction.
func Check(t *Table, k Key, c Cond) Write { return Write{Op: OpCheck, Table: t, Key: k, Cond: c} }

// Set returns the update extended by setting the attribute.
func (w Write) Set(name string, v any) Write {
	w.SetAttrs = cloned(w.SetAttrs)
	w.SetAttrs[name] = v
	return w
}

// SetAll returns the update extended by setting all of a.
func (w Write) SetAll(a Attrs) Write {
	w.SetAttrs = cloned(w.SetAttrs)
	for k, v := range a {
		w.SetAttrs[k] = v
	}
	return w
}

// Add returns the update extended by adding n to the attribute.
func (w Write) Add(name string, n int64) Write {
	add := map[string]int64{name: n}
	for k, v := range w.AddAttrs {
		add[k] += v
	}
	w.AddAttrs = add
	return w
}

// Remove returns the update extended by removing the attributes.
func (w Write) Remove(names ...string) Write {
	w.RemoveAttrs = append(append([]string(nil), w.RemoveAttrs...), names...)
	return w
}

// Until returns the put or update with a time to live.
func (w Write) Until(t time.Time) Write { w.Expires = t; return w }

// If returns the write with a condition in addition to those it has.
func (w Write) If(conds ...Cond) Write {
	c := append(Cond(nil), w.Cond...)
	for _, more := range conds {
		c = append(c, more...)
	}
	w.Cond = c
	return w
}

func cloned(a Attrs) Attrs {
	c := make(Attrs, len(a)+1)
	for k, v := range a {
		c[k] = v
	}
	return c
}

// Cond is a conjunction of clauses; a clause holds if any of its tests does.
// The zero value always holds.
type Cond [][]Test

// Test compares one attribute of the item as it was before the write. A test of
// an absent attribute fails, except for TestAbsent and TestNotEqual.
type Test struct {
	Kind  TestKind
	Attr  string // PartAttr tests the item itself
	Value any
}

// TestKind is the comparison of a Test.
type TestKind uint8

// The comparisons.
const (
	TestAbsent TestKind = iota
	TestPresent
	TestEqual
	TestNotEqual
	TestLess
	TestAtMost
	TestGreater
	TestAtLeast
)

func one(k TestKind, attr string, v any) Cond { return Cond{{{k, attr, v}}} }

// NotExists holds if there is no such item.
func NotExists() Cond { return one(TestAbsent, PartAttr, nil) }

// Exists holds if there is such an item.
func Exists() Cond { return one(TestPresent, PartAttr, nil) }

// Absent holds if the item does not have the attribute (or does not exist).
func Absent(attr string) Cond { return one(TestAbsent, attr, nil) }

// Present holds if the item has the attribute.
func Present(attr string) Cond { return one(TestPresent, attr, nil) }

// Equal holds if the attribute has this value.
func Equal(attr string, v any) Cond { return one(TestEqual, attr, v) }

// NotEqual holds if the attribute is absent or has another value.
func NotEqual(attr string, v any) Cond { return one(TestNotEqual, attr, v) }

// Less holds if the attribute is present, of the same type and less than v.
func Less(attr string, v any) Cond { return one(TestLess, attr, v) }

// AtMost holds if the attribute is at most v.
func AtMost(attr string, v any) Cond { return one(TestAtMost, attr, v) }

// Greater holds if the attribute is greater than v.
func Greater(attr string, v any) Cond { return one(TestGreater, attr, v) }

// AtLeast holds if the attribute is at least v.
func AtLeast(attr string, v any) Cond { return one(TestAtLeast, attr, v) }

// AnyOf holds if any of the conditions does. Each must be a single test.
func AnyOf(conds ...Cond) Cond {
	var clause []Test
	for _, c := range conds {
		if len(c) != 1 || len(c[0]) != 1 {
			panic("store: AnyOf takes single tests")
		}
		clause = append(clause, c[0][0])
	}
	return Cond{clause}
}

// The errors of a DB besides those of the context. ErrThrottled and ErrConflict
// mean that nothing was written; both may be tried again after a pause. Any
// other error of a write leaves open whether it happened.
var (
	ErrNotFound  = errors.New("no such item")
	ErrThrottled = errors.New("the store is throttling")
	ErrConflict  = errors.New("another transaction holds the item")
)

// ConditionFailed is the error of a write whose condition did not hold. Nothing
// was written.
type ConditionFailed struct {
	// Failed maps the index of each write whose condition failed to the item as
	// it is (not existing if there is none). A single write has index 0.
	Failed map[int]Item
}

// Error counts the failed conditions.
func (e *ConditionFailed) Error() string {
	return fmt.Sprintf("%d conditions failed", len(e.Failed))
}

// Failed returns the ConditionFailed in err's chain, or nil.
func Failed(err error) *ConditionFailed {
	var e *ConditionFailed
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// DB is a database. Implementations are safe for concurrent use, check the
// grants in ctx (the local one; on AWS, IAM does), and count consumed capacity
// on the Meter in ctx. There is no way to read a whole table: who moves a server has
// another (see archive.Source).
type DB interface {
	// Get returns an item, or ErrNotFound.
	Get(ctx context.Context, r Ref, c Consistency) (Item, error)
	// BatchGet returns the items that exist among at most MaxBatchGet distinct
	// refs, in any order. It never returns a part: an implementation asks again
	// for what a store left unprocessed.
	BatchGet(ctx context.Context, refs []Ref, c Consistency) ([]Item, error)
	// Query returns one page of a range.
	Query(ctx context.Context, q Query) (Page, error)
	// Write makes one change and returns the item as it is after it (not
	// existing after a delete), or a *ConditionFailed. A write that was
	// acknowledged survives a crash.
	Write(ctx context.Context, w Write) (Item, error)
	// Transact makes at most MaxTransact changes of distinct items, all or none,
	// serialised with all other writes. The error is a *ConditionFailed if any
	// condition failed and ErrConflict if another transaction was in the way.
	Transact(ctx context.Context, ws ...Write) error
}

// All iterates over the whole range of a query, page by page. It stops at the
// first error, which it yields.
func All(ctx context.Context, db DB, q Query) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		left := q.Limit
		for {
			page, err := db.Query(ctx, q)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, it := range page.Items {
				if !yield(it, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			if q.Limit > 0 {
				if left -= len(page.Items); left <= 0 {
					return
				}
				q.Limit = left
			}
			q.After = page.Next
		}
	}
}

// GetAll is BatchGet for any number of refs.
func GetAll(ctx context.Context, db DB, refs []Ref, c Consistency) ([]Item, error) {
	var all []Item
	for len(refs) > 0 {
		n := min(len(refs), MaxBatchGet)
		items, err := db.BatchGet(ctx, refs[:n], c)
		if err != nil {
			return nil, err
		}
		all, refs = append(all, items...), refs[n:]
	}
	return all, nil
}

// A Change is a hint that an item was written: delivered at least once, in
// order for each item, in any order across items, and possibly late. Whoever
// receives it reads the item.
type Change struct {
	Table   *Table
	Key     Key
	Expired bool // deleted by its time to live
}
