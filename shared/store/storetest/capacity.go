package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// spent runs f and checks what it consumed.
func (s *suite) spent(what string, reads, writes float64, f func() error) {
	s.Helper()
	outer := s.ctx
	defer func() { s.ctx = outer }()
	var m store.Meter
	s.ctx = store.WithMeter(s.ctx, &m)
	if err := f(); err != nil && store.Failed(err) == nil {
		s.Fatalf("%s: %v", what, err)
	}
	if got := m.Total(); got.Reads != reads || got.Writes != writes {
		s.Errorf("%s: consumed %s, want %v RU, %v WU", what, got, reads, writes)
	}
}

func testCapacityOfReads(s *suite) {
	kb := func(n int) store.Attrs { return store.Attrs{"v": strings.Repeat("x", n<<10)} }
	s.put("small", store.Attrs{"v": "x"})
	s.put("3k", kb(3))
	s.put("5k", kb(5))
	s.put("50k", kb(50))
	part := s.other("query")
	for i := range 20 {
		a := store.Attrs{"v": strings.Repeat("x", 1000)}
		s.write(store.Put(store.Rooms, store.Key{Part: part, Sort: fmt.Sprintf("%02d", i)}, a))
	}
	time.Sleep(100 * time.Millisecond) // for the eventual reads
	get := func(sort string, c store.Consistency) func() error {
		return func() error {
			if _, err := s.db.Get(s.ctx, s.ref(sort), c); err != store.ErrNotFound {
				return err
			}
			return nil
		}
	}
	s.spent("get of nothing", 1, 0, get("nothing", store.Consistent))
	s.spent("eventual get of nothing", 0.5, 0, get("nothing", store.Eventual))
	s.spent("get of a small item", 1, 0, get("small", store.Consistent))
	s.spent("eventual get of a small item", 0.5, 0, get("small", store.Eventual))
	s.spent("get of 5 KB", 2, 0, get("5k", store.Consistent))
	s.spent("eventual get of 5 KB", 1, 0, get("5k", store.Eventual))
	s.spent("get of 50 KB", 13, 0, get("50k", store.Consistent))
	s.spent("eventual get of 50 KB", 6.5, 0, get("50k", store.Eventual))

	batch := func(c store.Consistency, sorts ...string) func() error {
		return func() error {
			var refs []store.Ref
			for _, k := range sorts {
				refs = append(refs, s.ref(k))
			}
			_, err := s.db.BatchGet(s.ctx, refs, c)
			return err
		}
	}
	s.spent("batch get, each item rounds up", 5, 0, batch(store.Consistent, "small", "3k", "5k", "nothing"))
	s.spent("eventual batch get", 2.5, 0, batch(store.Eventual, "small", "3k", "5k", "nothing"))

	query := func(q store.Query) func() error {
		return func() error {
			_, err := s.db.Query(s.ctx, q)
			return err
		}
	}
	// 20 items of 1,000 bytes and less than 100 for key and names.
	q := store.Query{Table: store.Rooms, Part: part, Consistency: store.Consistent}
	s.spent("query, the sum rounds up", 6, 0, query(q))
	q.Consistency = store.Eventual
	s.spent("eventual query", 3, 0, query(q))
	q.Limit = 3
	s.spent("eventual query of three", 0.5, 0, query(q))
	q = store.Query{Table: store.Rooms, Part: s.other("empty"), Consistency: store.Consistent}
	s.spent("query of nothing", 1, 0, query(q))
	q.Consistency = store.Eventual
	s.spent("eventual query of nothing", 0.5, 0, query(q))
}

func testCapacityOfWrites(s *suite) {
	kb := func(n int) store.Attrs { return store.Attrs{"v": strings.Repeat("x", n<<10)} }
	write := func(w store.Write) func() error {
		return func() error {
			_, err := s.db.Write(s.ctx, w)
			return err
		}
	}
	put := func(sort string, a store.Attrs) store.Write { return store.Put(store.Rooms, s.key(sort), a) }
	del := func(sort string) store.Write { return store.Delete(store.Rooms, s.key(sort)) }
	s.spent("put of a small item", 0, 1, write(put("a", store.Attrs{"v": "x"})))
	s.spent("put of 2 KB and a little", 0, 3, write(put("a", kb(2))))
	s.spent("put of a small item over a larger one", 0, 3, write(put("a", store.Attrs{"v": "x"})))
	s.spent("put of 10 KB over a small one", 0, 11, write(put("a", kb(10))))
	s.spent("update of an attribute of 10 KB", 0, 11, write(store.Update(store.Rooms, s.key("a")).Set("n", "x")))
	s.spent("delete of 10 KB", 0, 11, write(del("a")))
	s.spent("delete of nothing", 0, 1, write(del("a")))
	s.spent("update that creates", 0, 1, write(store.Update(store.Rooms, s.key("u")).Add("n", 1)))
	s.spent("failed condition", 0, 1, write(put("u", store.Attrs{"v": "x"}).If(store.NotExists())))
	s.spent("failed condition on nothing", 0, 1, write(del("none").If(store.Exists())))

	s.put("old", kb(3))
	s.put("checked", store.Attrs{"v": "x"})
	s.spent("transaction", 0, 2*(1+3+4+1), func() error {
		return s.db.Transact(s.ctx,
			put("t1", store.Attrs{"v": "x"}),
			put("t2", kb(2)),
			del("old"),
			store.Check(store.Rooms, s.key("checked"), store.Exists()),
		)
	})
	s.spent("transaction that fails", 0, 2*2, func() error {
		return s.db.Transact(s.ctx,
			put("t3", store.Attrs{"v": "x"}),
			store.Check(store.Rooms, s.key("checked"), store.NotExists()),
		)
	})
}
