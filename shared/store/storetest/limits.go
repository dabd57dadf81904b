package storetest

import (
	"context"
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/store"
)

func testKeyLimits(s *suite) {
	long := func(n int) string { return s.part + strings.Repeat("k", n-len(s.part)) }
	good := store.Key{Part: long(store.MaxPartKey), Sort: strings.Repeat("s", store.MaxSortKey)}
	if _, err := s.db.Write(s.ctx, store.Put(store.Rooms, good, nil)); err != nil {
		s.Errorf("the longest key: %v", err)
	}
	if _, err := s.db.Get(s.ctx, store.Ref{Table: store.Rooms, Key: good}, store.Consistent); err != nil {
		s.Errorf("get of the longest key: %v", err)
	}
	for name, k := range map[string]store.Key{
		"no partition key":         {Sort: "s"},
		"no sort key":              {Part: s.part},
		"a partition key too long": {Part: long(store.MaxPartKey + 1), Sort: "s"},
		"a sort key too long":      {Part: s.part, Sort: strings.Repeat("s", store.MaxSortKey+1)},
		"a partition key no UTF-8": {Part: s.part + "\xff", Sort: "s"},
		"a sort key no UTF-8":      {Part: s.part, Sort: "\xff"},
	} {
		ref := store.Ref{Table: store.Rooms, Key: k}
		_, err := s.db.Get(s.ctx, ref, store.Consistent)
		s.refused("get: "+name, err)
		_, err = s.db.BatchGet(s.ctx, []store.Ref{ref}, store.Consistent)
		s.refused("batch get: "+name, err)
		for op, w := range map[string]store.Write{
			"put":    store.Put(store.Rooms, k, nil),
			"update": store.Update(store.Rooms, k).Set("a", "x"),
			"delete": store.Delete(store.Rooms, k),
		} {
			_, err = s.db.Write(s.ctx, w)
			s.refused(op+": "+name, err)
			s.refused("transaction, "+op+": "+name, s.db.Transact(s.ctx, store.Put(store.Rooms, s.key("with"), nil), w))
		}
	}
	_, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms})
	s.refused("query: no partition key", err)
	s.want("after the refusals", s.get("with"), "with", nil)
}

func testValueLimits(s *suite) {
	for name, v := range map[string]any{
		"int": 1, "uint64": uint64(1), "float": 1.5, "nil": nil, "slice": []string{"a"}, "map": map[string]any{}, "struct": struct{}{},
		"no UTF-8": "\xff",
	} {
		for op, w := range map[string]store.Write{
			"put":       store.Put(store.Rooms, s.key("k"), store.Attrs{"a": v}),
			"update":    store.Update(store.Rooms, s.key("k")).Set("a", v),
			"condition": store.Put(store.Rooms, s.key("k"), nil).If(store.NotEqual("a", v)),
		} {
			_, err := s.db.Write(s.ctx, w)
			s.refused(op+": a value of type "+name, err)
			s.refused("transaction, "+op+": a value of type "+name, s.db.Transact(s.ctx, w))
		}
	}
	for _, name := range []string{store.PartAttr, store.SortAttr, store.TTL, ""} {
		_, err := s.db.Write(s.ctx, store.Put(store.Rooms, s.key("k"), store.Attrs{name: "x"}))
		s.refused(fmt.Sprintf("put of an attribute %q", name), err)
		_, err = s.db.Write(s.ctx, store.Update(store.Rooms, s.key("k")).Set(name, "x"))
		s.refused(fmt.Sprintf("update of an attribute %q", name), err)
	}
	_, err := s.db.Write(s.ctx, store.Put(store.Rooms, s.key("k"), nil).If(store.Less("a", true)))
	s.refused("an order of booleans", err)
	s.want("after the refusals", s.get("k"), "k", nil)
}

func testSizeLimits(s *suite) {
	fits, tooBig := strings.Repeat("x", store.MaxItemSize-1024), strings.Repeat("x", store.MaxItemSize+1)
	s.put("big", store.Attrs{"a": fits})
	if got := s.get("big").Str("a"); got != fits {
		s.Errorf("an item of 399 KB came back with %d bytes", len(got))
	}
	s.put("bytes", store.Attrs{"a": []byte(fits)})
	if got := s.get("bytes").Bytes("a"); string(got) != fits {
		s.Errorf("an item of 399 KB came back with %d bytes", len(got))
	}
	_, err := s.db.Write(s.ctx, store.Put(store.Rooms, s.key("too big"), store.Attrs{"a": tooBig}))
	s.refused("an item of more than 400 KB", err)
	s.want("it", s.get("too big"), "too big", nil)
	_, err = s.db.Write(s.ctx, store.Update(store.Rooms, s.key("big")).Set("b", strings.Repeat("y", 2048)))
	s.refused("an update that makes an item of more than 400 KB", err)
	if _, grown := s.get("big").Attrs["b"]; grown {
		s.Error("the refused update was made")
	}
	s.refused("a transaction with an item of more than 400 KB", s.db.Transact(s.ctx,
		store.Put(store.Rooms, s.key("with"), nil), store.Put(store.Rooms, s.key("too big"), store.Attrs{"a": tooBig})))
	var ws []store.Write
	for i := range 11 {
		ws = append(ws, store.Put(store.Rooms, store.Key{Part: s.other("4 MB"), Sort: fmt.Sprint("k", i)}, store.Attrs{"a": fits}))
	}
	s.refused("a transaction of more than 4 MB", s.db.Transact(s.ctx, ws...))
	page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: s.other("4 MB"), Limit: 1, Consistency: store.Consistent})
	if err != nil || len(page.Items) != 0 {
		s.Errorf("a refused transaction wrote %d items, %v", len(page.Items), err)
	}
	if err := s.db.Transact(s.ctx, ws[:9]...); err != nil {
		s.Errorf("a transaction of 3.6 MB: %v", err)
	}
}

func testCancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.db.Get(ctx, s.ref("k"), store.Consistent); err == nil || !strings.Contains(err.Error(), "canceled") {
		s.Errorf("get with a context that ended: %v", err)
	}
	if _, err := s.db.Write(ctx, store.Put(store.Rooms, s.key("k"), nil)); err == nil {
		s.Error("a write with a context that ended was made")
	}
	s.want("it", s.get("k"), "k", nil)
}
