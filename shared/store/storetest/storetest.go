// Package storetest is the contract of store.DB as a test.
//
// It asks for what DynamoDB guarantees and nothing else, so that the same Run
// passes for the embedded store and for a real table. Every test works in
// partitions of its own: one database, also a used one, serves them all.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
)

// Context returns ctx with grants to read and write all tables.
func Context(ctx context.Context) context.Context {
	var set grant.Set
	for _, t := range store.Tables {
		set = append(set, grant.Of(grant.ReadTable(t.Name), grant.WriteTable(t.Name))...)
	}
	return grant.With(ctx, "storetest", grant.Of(set), nil)
}

// Run tests that the database keeps the contract. open is called once and
// registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) store.DB) {
	db := open(t)
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Values", testValues},
		{"Writes", testWrites},
		{"Updates", testUpdates},
		{"TimeToLive", testTimeToLive},
		{"Aliasing", testAliasing},
		{"Conditions", testConditions},
		{"ConditionFailed", testConditionFailed},
		{"BatchGet", testBatchGet},
		{"QueryRanges", testQueryRanges},
		{"QueryOrder", testQueryOrder},
		{"QueryPages", testQueryPages},
		{"QueryBigPages", testQueryBigPages},
		{"Partitions", testPartitions},
		{"Transactions", testTransactions},
		{"TransactionsFail", testTransactionsFail},
		{"ConcurrentWrites", testConcurrentWrites},
		{"ConcurrentTransactions", testConcurrentTransactions},
		{"Consistency", testConsistency},
		{"KeyLimits", testKeyLimits},
		{"ValueLimits", testValueLimits},
		{"SizeLimits", testSizeLimits},
		{"Cancelled", testCancelled},
		{"CapacityOfReads", testCapacityOfReads},
		{"CapacityOfWrites", testCapacityOfWrites},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{T: t, db: db, ctx: Context(t.Context()), part: "storetest " + rand.Text()})
		})
	}
}

// suite is one test with a partition of its own.
type suite struct {
	*testing.T
	db   store.DB
	ctx  context.Context
	part string
}

func (s *suite) key(sort string) store.Key { return store.Key{Part: s.part, Sort: sort} }

func (s *suite) ref(sort string) store.Ref { return store.Ref{Table: store.Rooms, Key: s.key(sort)} }

// other returns a partition key of the same test.
func (s *suite) other(name string) string { return s.part + " " + name }

func (s *suite) write(w store.Write) store.Item {
	s.Helper()
	for {
		it, err := s.db.Write(s.ctx, w)
		if again(err) {
			continue
		}
		if err != nil {
			s.Fatalf("write %s: %v", w.Key, err)
		}
		return it
	}
}

func (s *suite) put(sort string, a store.Attrs) store.Item {
	s.Helper()
	return s.write(store.Put(store.Rooms, s.key(sort), a))
}

// get returns the item as a consistent read sees it, or one that does not exist.
func (s *suite) get(sort string) store.Item {
	s.Helper()
	it, err := s.db.Get(s.ctx, s.ref(sort), store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return store.Item{}
	}
	if err != nil {
		s.Fatalf("get %q: %v", sort, err)
	}
	return it
}

// want checks an item; nil attributes mean that there is none.
func (s *suite) want(what string, it store.Item, sort string, a store.Attrs) {
	s.Helper()
	if a == nil {
		if it.Exists() {
			s.Errorf("%s: got %v, want no item", what, it)
		}
		return
	}
	if it.Key != s.key(sort) {
		s.Errorf("%s: the key is %q, want %q", what, it.Key, s.key(sort))
	}
	if !maps.EqualFunc(it.Attrs, a, equal) {
		s.Errorf("%s: got %v, want %v", what, it.Attrs, a)
	}
}

func equal(a, b any) bool {
	x, isBytes := a.([]byte)
	y, both := b.([]byte)
	if isBytes && both {
		return bytes.Equal(x, y)
	}
	return isBytes == both && a == b
}

// refused checks that the error is neither nil nor one that the caller could
// take for an answer.
func (s *suite) refused(what string, err error) {
	s.Helper()
	switch {
	case err == nil:
		s.Errorf("%s: allowed", what)
	case errors.Is(err, store.ErrNotFound), again(err), store.Failed(err) != nil:
		s.Errorf("%s: %v, want a refusal", what, err)
	}
}

// again reports whether the write may be tried again, after a pause.
func again(err error) bool {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrThrottled) {
		time.Sleep(5 * time.Millisecond)
		return true
	}
	return false
}

func testValues(s *suite) {
	values := store.Attrs{
		"string":  "text",
		"empty":   "",
		"unicode": "Grüße \U0001F30D\x00 \U0010FFFF",
		"zero":    int64(0),
		"small":   int64(-42),
		"big":     int64(9223372036854775807),
		"lowest":  int64(-9223372036854775808),
		"tens":    int64(1000000),
		"true":    true,
		"false":   false,
		"bytes":   []byte{0, 1, 254, 255},
		"nobytes": []byte{},
	}
	s.want("put", s.put("all", values), "all", values)
	s.want("get", s.get("all"), "all", values)
	for name, v := range values {
		s.put(name, store.Attrs{name: v})
		s.want(name, s.get(name), name, store.Attrs{name: v})
	}
	s.put("none", nil)
	s.want("no attributes", s.get("none"), "none", store.Attrs{})
	if got := s.get("all").Attrs["nobytes"]; got == nil || got.([]byte) == nil {
		s.Errorf("empty bytes came back as %#v", got)
	}

	type row struct {
		Name  string   `db:"name"`
		Count uint32   `db:"count"`
		Raw   []byte   `db:"raw"`
		List  []string `db:"list"`
		Gone  string   `db:"gone,omitempty"`
	}
	in := row{"n", 7, []byte("raw"), []string{"a", "b"}, ""}
	s.put("row", store.Encode(in))
	var out row
	if err := store.Decode(s.get("row"), &out); err != nil || fmt.Sprint(in) != fmt.Sprint(out) {
		s.Errorf("a row %v came back as %v, %v", in, out, err)
	}
}

func testWrites(s *suite) {
	s.want("get of nothing", s.get("k"), "k", nil)
	if _, err := s.db.Get(s.ctx, s.ref("k"), store.Eventual); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("eventual get of nothing: %v", err)
	}
	s.put("k", store.Attrs{"a": "1", "b": "1"})
	s.want("put replaces", s.put("k", store.Attrs{"b": "2"}), "k", store.Attrs{"b": "2"})
	s.want("put replaces the whole item", s.get("k"), "k", store.Attrs{"b": "2"})
	s.want("delete", s.write(store.Delete(store.Rooms, s.key("k"))), "k", nil)
	s.want("get after delete", s.get("k"), "k", nil)
	s.want("delete of nothing", s.write(store.Delete(store.Rooms, s.key("k"))), "k", nil)
	_, err := s.db.Write(s.ctx, store.Check(store.Rooms, s.key("k"), store.NotExists()))
	s.refused("a check outside of a transaction", err)
	for _, table := range store.Tables {
		it, err := s.db.Write(s.ctx, store.Put(table, s.key("table"), store.Attrs{"t": table.Name}))
		if err != nil {
			s.Fatalf("put into %s: %v", table.Name, err)
		}
		s.want(table.Name, it, "table", store.Attrs{"t": table.Name})
	}
	for _, table := range store.Tables {
		it, err := s.db.Get(s.ctx, store.Ref{Table: table, Key: s.key("table")}, store.Consistent)
		if err != nil || it.Str("t") != table.Name {
			s.Errorf("get from %s: %v, %v", table.Name, it, err)
		}
	}
}

func testUpdates(s *suite) {
	up := func() store.Write { return store.Update(store.Rooms, s.key("k")) }
	steps := []struct {
		what string
		w    store.Write
		want store.Attrs
	}{
		{"update creates", up().Set("a", "x").Add("n", 2), store.Attrs{"a": "x", "n": int64(2)}},
		{"update keeps the rest", up().Set("b", true), store.Attrs{"a": "x", "n": int64(2), "b": true}},
		{"set changes the type", up().Set("b", []byte("raw")), store.Attrs{"a": "x", "n": int64(2), "b": []byte("raw")}},
		{"add", up().Add("n", 40), store.Attrs{"a": "x", "n": int64(42), "b": []byte("raw")}},
		{"add a negative", up().Add("n", -50).Add("m", -1), store.Attrs{"a": "x", "n": int64(-8), "m": int64(-1), "b": []byte("raw")}},
		{"remove", up().Remove("b", "m", "never"), store.Attrs{"a": "x", "n": int64(-8)}},
		{"all at once", up().SetAll(store.Attrs{"c": "1", "d": "2"}).Add("n", 8).Remove("a"), store.Attrs{"c": "1", "d": "2", "n": int64(0)}},
		{"nothing", up(), store.Attrs{"c": "1", "d": "2", "n": int64(0)}},
		{"remove everything", up().Remove("c", "d", "n"), store.Attrs{}},
	}
	for _, step := range steps {
		s.want(step.what+": returned", s.write(step.w), "k", step.want)
		s.want(step.what+": stored", s.get("k"), "k", step.want)
	}
	s.want("an empty update creates", s.write(store.Update(store.Rooms, s.key("new"))), "new", store.Attrs{})
	s.want("a remove creates", s.write(store.Update(store.Rooms, s.key("new2")).Remove("a")), "new2", store.Attrs{})

	s.put("text", store.Attrs{"a": "x"})
	_, err := s.db.Write(s.ctx, store.Update(store.Rooms, s.key("text")).Add("a", 1))
	s.refused("adding to a string", err)
	for what, w := range map[string]store.Write{
		"set and add":    store.Update(store.Rooms, s.key("text")).Set("a", int64(1)).Add("a", 1),
		"set and remove": store.Update(store.Rooms, s.key("text")).Set("a", "y").Remove("a"),
		"add and remove": store.Update(store.Rooms, s.key("text")).Add("n", 1).Remove("n"),
	} {
		_, err := s.db.Write(s.ctx, w)
		s.refused(what+" of one attribute", err)
	}
	s.want("after refusals", s.get("text"), "text", store.Attrs{"a": "x"})
}

func testTimeToLive(s *suite) {
	soon := time.Now().Add(48 * time.Hour)
	whole := soon.Truncate(time.Second)
	check := func(what string, it store.Item, want time.Time) {
		s.Helper()
		if !it.Expires.Equal(want) {
			s.Errorf("%s: expires %v, want %v", what, it.Expires, want)
		}
		if _, visible := it.Attrs[store.TTL]; visible {
			s.Errorf("%s: the attribute %q shows", what, store.TTL)
		}
	}
	check("put", s.write(store.Put(store.Rooms, s.key("k"), store.Attrs{"a": "x"}).Until(soon)), whole)
	check("get", s.get("k"), whole)
	check("update keeps it", s.write(store.Update(store.Rooms, s.key("k")).Set("a", "y")), whole)
	check("update changes it", s.write(store.Update(store.Rooms, s.key("k")).Until(soon.Add(time.Hour))), whole.Add(time.Hour))
	s.want("only that", s.get("k"), "k", store.Attrs{"a": "y"})
	page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent})
	if err != nil || len(page.Items) != 1 {
		s.Fatalf("query: %v, %v", page, err)
	}
	check("query", page.Items[0], whole.Add(time.Hour))
	items, err := s.db.BatchGet(s.ctx, []store.Ref{s.ref("k")}, store.Consistent)
	if err != nil || len(items) != 1 {
		s.Fatalf("batch get: %v, %v", items, err)
	}
	check("batch get", items[0], whole.Add(time.Hour))
	check("put drops it", s.put("k", store.Attrs{"a": "z"}), time.Time{})
	check("get after put", s.get("k"), time.Time{})
	check("update creates with it", s.write(store.Update(store.Rooms, s.key("new")).Until(soon)), whole)
}

func testAliasing(s *suite) {
	a := store.Attrs{"b": []byte("before"), "s": "x"}
	delete(a, "s")
	returned := s.put("k", a)
	a["b"].([]byte)[0] = 'X'
	a["more"] = "x"
	s.want("after the caller changed what it wrote", s.get("k"), "k", store.Attrs{"b": []byte("before")})
	s.want("what was returned", returned, "k", store.Attrs{"b": []byte("before")})
	returned.Attrs["b"].([]byte)[0] = 'Y'
	s.get("k").Attrs["b"].([]byte)[0] = 'Z'
	s.want("after the caller changed what it read", s.get("k"), "k", store.Attrs{"b": []byte("before")})
}

func testBatchGet(s *suite) {
	var refs []store.Ref
	var want []string
	for i := range store.MaxBatchGet {
		table := store.Tables[i%3]
		sort := fmt.Sprintf("%03d", i)
		refs = append(refs, store.Ref{Table: table, Key: s.key(sort)})
		if i%4 != 0 {
			s.write(store.Put(table, s.key(sort), store.Attrs{"i": int64(i)}))
			want = append(want, sort)
		}
	}
	for _, c := range []store.Consistency{store.Consistent, store.Eventual} {
		var got []string
		for try := 0; ; try++ {
			items, err := s.db.BatchGet(s.ctx, refs, c)
			if err != nil {
				s.Fatal(err)
			}
			got = nil
			for _, it := range items {
				if got = append(got, it.Key.Sort); fmt.Sprintf("%03d", it.Int("i")) != it.Key.Sort {
					s.Errorf("item %s holds %v", it.Key, it.Attrs)
				}
			}
			slices.Sort(got)
			if c == store.Eventual && len(got) < len(want) && try < 50 {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			break
		}
		if !slices.Equal(got, want) {
			s.Errorf("consistency %v: got %v, want %v", c, got, want)
		}
	}
	_, err := s.db.BatchGet(s.ctx, append(refs, s.ref("one more")), store.Consistent)
	s.refused("a batch of 101", err)
	_, err = s.db.BatchGet(s.ctx, append(refs[:2:2], refs[0]), store.Consistent)
	s.refused("a batch with a key twice", err)
	items, err := store.GetAll(s.ctx, s.db, append(refs, s.ref("a"), s.ref("b")), store.Consistent)
	if err != nil || len(items) != len(want) {
		s.Errorf("GetAll of 102: %d items, %v", len(items), err)
	}

	// More than DynamoDB answers at once: nothing may be missing.
	big := strings.Repeat("x", 390<<10)
	refs = nil
	for i := range 12 {
		sort := fmt.Sprintf("big %02d", i)
		s.put(sort, store.Attrs{"v": big})
		refs = append(refs, s.ref(sort))
	}
	items, err = s.db.BatchGet(s.ctx, refs, store.Consistent)
	if err != nil || len(items) != len(refs) {
		s.Errorf("a batch of 4.6 MB: %d of %d items, %v", len(items), len(refs), err)
	}
}
