package storetest

import (
	"maps"
	"slices"

	"github.com/virga-im/virga/shared/store"
)

func testConditions(s *suite) {
	attrs := store.Attrs{
		"str": "mm", "num": int64(5), "neg": int64(-3), "bin": []byte("mm"), "yes": true,
		"empty": "", "high": "\U0001F30D",
	}
	s.put("item", attrs)
	x := func(name string, c store.Cond, onItem, onNothing bool) {
		s.Helper()
		for _, at := range []struct {
			sort  string
			holds bool
		}{{"item", onItem}, {"nothing", onNothing}} {
			w := store.Check(store.Rooms, s.key(at.sort), c)
			err := s.db.Transact(s.ctx, w)
			for again(err) {
				err = s.db.Transact(s.ctx, w)
			}
			if err != nil && store.Failed(err) == nil {
				s.Errorf("%s on %s: %v", name, at.sort, err)
			} else if holds := err == nil; holds != at.holds {
				s.Errorf("%s on %s: holds is %v, want %v", name, at.sort, holds, at.holds)
			}
		}
	}
	x("exists", store.Exists(), true, false)
	x("not exists", store.NotExists(), false, true)
	x("present", store.Present("str"), true, false)
	x("present, empty", store.Present("empty"), true, false)
	x("present, other", store.Present("other"), false, false)
	x("absent", store.Absent("str"), false, true)
	x("absent, other", store.Absent("other"), true, true)

	x("equal", store.Equal("str", "mm"), true, false)
	x("equal, other value", store.Equal("str", "mn"), false, false)
	x("equal, other type", store.Equal("num", "5"), false, false)
	x("equal, absent", store.Equal("other", "mm"), false, false)
	x("equal number", store.Equal("num", int64(5)), true, false)
	x("equal bytes", store.Equal("bin", []byte("mm")), true, false)
	x("bytes are no string", store.Equal("bin", "mm"), false, false)
	x("equal bool", store.Equal("yes", true), true, false)
	x("equal bool, other", store.Equal("yes", false), false, false)
	x("equal empty", store.Equal("empty", ""), true, false)
	x("not equal", store.NotEqual("str", "mn"), true, true)
	x("not equal, same", store.NotEqual("str", "mm"), false, true)
	x("not equal, other type", store.NotEqual("num", "5"), true, true)
	x("not equal, absent", store.NotEqual("other", "mm"), true, true)

	for _, c := range []struct {
		name      string
		attr      string
		low, high any
		same      any
	}{
		{"string", "str", "ml", "mm\x00", "mm"},
		{"string by bytes", "high", "\uffff", "\U0010ffff", "\U0001F30D"},
		{"number", "num", int64(4), int64(10), int64(5)},
		{"negative number", "neg", int64(-20), int64(1), int64(-3)},
		{"bytes", "bin", []byte("ml\xff"), []byte{0xff}, []byte("mm")},
	} {
		x(c.name+" less, lower", store.Less(c.attr, c.low), false, false)
		x(c.name+" less, same", store.Less(c.attr, c.same), false, false)
		x(c.name+" less, higher", store.Less(c.attr, c.high), true, false)
		x(c.name+" at most, lower", store.AtMost(c.attr, c.low), false, false)
		x(c.name+" at most, same", store.AtMost(c.attr, c.same), true, false)
		x(c.name+" at most, higher", store.AtMost(c.attr, c.high), true, false)
		x(c.name+" greater, lower", store.Greater(c.attr, c.low), true, false)
		x(c.name+" greater, same", store.Greater(c.attr, c.same), false, false)
		x(c.name+" greater, higher", store.Greater(c.attr, c.high), false, false)
		x(c.name+" at least, lower", store.AtLeast(c.attr, c.low), true, false)
		x(c.name+" at least, same", store.AtLeast(c.attr, c.same), true, false)
		x(c.name+" at least, higher", store.AtLeast(c.attr, c.high), false, false)
	}
	x("less, other type", store.Less("str", int64(9)), false, false)
	x("greater, other type", store.Greater("str", int64(1)), false, false)
	x("at most, absent", store.AtMost("other", int64(1)), false, false)

	both := append(store.Equal("str", "mm"), store.Equal("num", int64(5))...)
	x("and", both, true, false)
	x("and, one fails", append(both, store.Equal("yes", false)...), false, false)
	x("any of", store.AnyOf(store.Equal("str", "no"), store.Equal("num", int64(5))), true, false)
	x("any of, none", store.AnyOf(store.Equal("str", "no"), store.Equal("num", int64(6))), false, false)
	x("any of, absent", store.AnyOf(store.NotExists(), store.Less("num", int64(6))), true, true)
	x("any of, two attributes and an and", append(store.AnyOf(store.Absent("other"), store.Present("none")), both...), true, false)
	x("no condition", nil, true, true)
}

func testConditionFailed(s *suite) {
	have := store.Attrs{"v": int64(1), "a": "x"}
	s.put("k", have)
	for name, w := range map[string]store.Write{
		"put":    store.Put(store.Rooms, s.key("k"), store.Attrs{"v": int64(9)}),
		"update": store.Update(store.Rooms, s.key("k")).Set("v", int64(9)),
		"delete": store.Delete(store.Rooms, s.key("k")),
	} {
		_, err := s.db.Write(s.ctx, w.If(store.Equal("v", int64(2))))
		failed := store.Failed(err)
		if failed == nil || len(failed.Failed) != 1 {
			s.Fatalf("%s: %v, want a failed condition", name, err)
		}
		s.want(name+": the item that failed", failed.Failed[0], "k", have)
		s.want(name+": nothing was written", s.get("k"), "k", have)

		w.Key = s.key("nothing")
		_, err = s.db.Write(s.ctx, w.If(store.Exists()))
		if failed = store.Failed(err); failed == nil {
			s.Fatalf("%s of nothing: %v, want a failed condition", name, err)
		}
		if it, told := failed.Failed[0]; !told || it.Exists() {
			s.Errorf("%s of nothing: failed on %v, want an item that does not exist", name, failed.Failed)
		}
		s.want(name+" of nothing: nothing was written", s.get("nothing"), "nothing", nil)
	}
	s.want("a condition that holds",
		s.write(store.Update(store.Rooms, s.key("k")).Add("v", 1).If(store.Exists(), store.Equal("v", int64(1)))),
		"k", store.Attrs{"v": int64(2), "a": "x"})
	s.want("put if not exists", s.write(store.Put(store.Rooms, s.key("new"), nil).If(store.NotExists())), "new", store.Attrs{})
	s.want("delete if", s.write(store.Delete(store.Rooms, s.key("k")).If(store.Equal("v", int64(2)))), "k", nil)
}

func testTransactions(s *suite) {
	s.put("deleted", store.Attrs{"a": "x"})
	s.put("checked", store.Attrs{"a": "x"})
	s.put("updated", store.Attrs{"n": int64(1)})
	err := s.db.Transact(s.ctx,
		store.Put(store.Rooms, s.key("put"), store.Attrs{"a": "new"}).If(store.NotExists()),
		store.Update(store.Rooms, s.key("updated")).Add("n", 1).If(store.Equal("n", int64(1))),
		store.Delete(store.Rooms, s.key("deleted")),
		store.Check(store.Rooms, s.key("checked"), store.Exists()),
		store.Put(store.Users, s.key("put"), store.Attrs{"a": "elsewhere"}),
		store.Update(store.Rooms, store.Key{Part: s.other("partition"), Sort: "u"}).Set("a", "x"),
		store.Delete(store.Rooms, s.key("never there")),
	)
	if err != nil {
		s.Fatal(err)
	}
	s.want("put", s.get("put"), "put", store.Attrs{"a": "new"})
	s.want("update", s.get("updated"), "updated", store.Attrs{"n": int64(2)})
	s.want("delete", s.get("deleted"), "deleted", nil)
	s.want("check", s.get("checked"), "checked", store.Attrs{"a": "x"})
	it, err := s.db.Get(s.ctx, store.Ref{Table: store.Users, Key: s.key("put")}, store.Consistent)
	if err != nil {
		s.Fatal(err)
	}
	s.want("put elsewhere", it, "put", store.Attrs{"a": "elsewhere"})

	var ws []store.Write
	for i := range store.MaxTransact {
		ws = append(ws, store.Put(store.Rooms, store.Key{Part: s.other("hundred"), Sort: string(rune('A' + i))}, store.Attrs{"i": int64(i)}))
	}
	if err := s.db.Transact(s.ctx, ws...); err != nil {
		s.Errorf("a transaction of %d: %v", len(ws), err)
	}
	page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: s.other("hundred"), Consistency: store.Consistent})
	if err != nil || len(page.Items) != len(ws) {
		s.Errorf("a transaction of %d wrote %d items: %v", len(ws), len(page.Items), err)
	}
	s.refused("a transaction of 101", s.db.Transact(s.ctx, append(ws, store.Put(store.Rooms, s.key("more"), nil))...))
	s.refused("one item twice", s.db.Transact(s.ctx,
		store.Put(store.Rooms, s.key("twice"), nil), store.Check(store.Rooms, s.key("twice"), store.NotExists())))
	s.want("after the refusals", s.get("twice"), "twice", nil)
	if err := s.db.Transact(s.ctx, store.Put(store.Rooms, s.key("same"), nil), store.Put(store.Users, s.key("same"), nil)); err != nil {
		s.Errorf("one key in two tables: %v", err)
	}
}

func testTransactionsFail(s *suite) {
	have := store.Attrs{"n": int64(1)}
	s.put("a", have)
	s.put("b", have)
	err := s.db.Transact(s.ctx,
		store.Put(store.Rooms, s.key("new"), store.Attrs{"a": "x"}),
		store.Update(store.Rooms, s.key("a")).Add("n", 1).If(store.Equal("n", int64(7))),
		store.Update(store.Rooms, s.key("b")).Add("n", 1).If(store.Equal("n", int64(1))),
		store.Check(store.Rooms, s.key("c"), store.Exists()),
		store.Delete(store.Rooms, s.key("d")).If(store.NotExists()),
	)
	failed := store.Failed(err)
	if failed == nil {
		s.Fatalf("got %v, want failed conditions", err)
	}
	if got := slices.Sorted(maps.Keys(failed.Failed)); !slices.Equal(got, []int{1, 3}) {
		s.Fatalf("writes %v failed, want 1 and 3", got)
	}
	s.want("the item that failed", failed.Failed[1], "a", have)
	s.want("the item that is not there", failed.Failed[3], "c", nil)
	s.want("put", s.get("new"), "new", nil)
	s.want("update", s.get("a"), "a", have)
	s.want("update whose condition held", s.get("b"), "b", have)

	s.put("text", store.Attrs{"v": "x"})
	s.refused("a transaction with an addition to a string", s.db.Transact(s.ctx,
		store.Put(store.Rooms, s.key("new"), nil), store.Update(store.Rooms, s.key("text")).Add("v", 1)))
	s.want("after it", s.get("new"), "new", nil)
}
