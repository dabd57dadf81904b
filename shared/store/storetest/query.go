package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/store"
)

// sorts collects the sort keys of the whole range.
func (s *suite) sorts(q store.Query) []string {
	s.Helper()
	got := []string{}
	for it, err := range store.All(s.ctx, s.db, q) {
		if err != nil {
			s.Fatalf("query %+v: %v", q, err)
		}
		if it.Key.Part != q.Part {
			s.Errorf("query of %q answers an item of %q", q.Part, it.Key.Part)
		}
		got = append(got, it.Key.Sort)
	}
	return got
}

func testQueryRanges(s *suite) {
	for _, k := range strings.Fields("a b b#1 b#2 b#3 c d") {
		s.put(k, store.Attrs{"k": k})
	}
	q := store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent}
	for _, c := range []struct {
		name            string
		from, to, after string
		want            string
	}{
		{"all", "", "", "", "a b b#1 b#2 b#3 c d"},
		{"from is included", "b", "", "", "b b#1 b#2 b#3 c d"},
		{"to is included", "", "c", "", "a b b#1 b#2 b#3 c"},
		{"both", "b#1", "b#3", "", "b#1 b#2 b#3"},
		{"one", "b", "b", "", "b"},
		{"between keys", "aa", "b#25", "", "b b#1 b#2"},
		{"nothing between", "b#25", "b#29", "", ""},
		{"from after to", "c", "b", "", ""},
		{"after is excluded", "", "", "b#2", "b#3 c d"},
		{"after a key that is not there", "", "", "b#25", "b#3 c d"},
		{"after in a range", "b", "c", "b#1", "b#2 b#3 c"},
		{"after before the range", "b#2", "", "a", "b#2 b#3 c d"},
		{"after behind the range", "", "b", "c", ""},
		{"after the last", "", "", "d", ""},
		{"after is from", "b", "", "b", "b#1 b#2 b#3 c d"},
	} {
		q.From, q.To, q.After = c.from, c.to, c.after
		if got := s.sorts(q); !slices.Equal(got, strings.Fields(c.want)) {
			s.Errorf("%s: got %v, want %s", c.name, got, c.want)
		}
	}
	q.Reverse = true
	for _, c := range []struct {
		name            string
		from, to, after string
		want            string
	}{
		{"all", "", "", "", "d c b#3 b#2 b#1 b a"},
		{"both", "b", "b#2", "", "b#2 b#1 b"},
		{"after is excluded", "", "", "b#2", "b#1 b a"},
		{"after a key that is not there", "", "", "b#25", "b#2 b#1 b a"},
		{"after in a range", "b", "c", "b#2", "b#1 b"},
		{"after behind the range", "", "b#1", "d", "b#1 b a"},
		{"after before the range", "b", "", "a", ""},
		{"after the last", "", "", "a", ""},
	} {
		q.From, q.To, q.After = c.from, c.to, c.after
		if got := s.sorts(q); !slices.Equal(got, strings.Fields(c.want)) {
			s.Errorf("reverse, %s: got %v, want %s", c.name, got, c.want)
		}
	}
	q = store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent}
	if got := s.sorts(q.Prefix("b#")); !slices.Equal(got, []string{"b#1", "b#2", "b#3"}) {
		s.Errorf("prefix: %v", got)
	}
	q.Part = s.other("empty")
	if got := s.sorts(q); len(got) != 0 {
		s.Errorf("a partition without items: %v", got)
	}
	page, err := s.db.Query(s.ctx, q)
	if err != nil || len(page.Items) != 0 || page.Next != "" {
		s.Errorf("a partition without items: %v, %v", page, err)
	}
	q = store.Query{Table: store.Rooms, Part: s.part, From: "c", To: "c", Consistency: store.Consistent}
	if page, err = s.db.Query(s.ctx, q); err != nil || len(page.Items) != 1 {
		s.Fatalf("query of one: %v, %v", page, err)
	}
	s.want("the item of a query", page.Items[0], "c", store.Attrs{"k": "c"})
}

func testQueryOrder(s *suite) {
	keys := []string{
		"\x00", "\x00\x00", "\x01", " ", "!", "0", "10", "2", "A", "Z", "a", "a\x00", "a\x00b", "a\x01", "a b", "aa", "b",
		"~", "\u007f", "\u0080", "é", "ÿ", "߿", "ࠀ", "中", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0001F30D", "\U0010ffff",
		strings.Repeat("x", store.MaxSortKey), strings.Repeat("x", store.MaxSortKey-1) + "w",
	}
	for i, k := range keys {
		s.put(k, store.Attrs{"i": int64(i)})
	}
	for i, k := range keys {
		s.want(fmt.Sprintf("%.20q", k), s.get(k), k, store.Attrs{"i": int64(i)})
	}
	slices.SortFunc(keys, func(a, b string) int { return bytes.Compare([]byte(a), []byte(b)) })
	q := store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent}
	if got := s.sorts(q); !slices.Equal(got, keys) {
		s.Errorf("got  %.20q,\nwant %.20q", got, keys)
	}
	for _, i := range []int{0, 5, 12, len(keys) / 2, len(keys) - 2} {
		q.After = keys[i]
		if got := s.sorts(q); !slices.Equal(got, keys[i+1:]) {
			s.Errorf("after %.20q: got %.20q, want %.20q", keys[i], got, keys[i+1:])
		}
	}
	q.After, q.Reverse = "", true
	slices.Reverse(keys)
	if got := s.sorts(q); !slices.Equal(got, keys) {
		s.Errorf("reverse: got  %.20q,\nwant %.20q", got, keys)
	}
}

func testQueryPages(s *suite) {
	var want []string
	for i := range 23 {
		k := fmt.Sprintf("%02d", i)
		want = append(want, k)
		s.put(k, store.Attrs{"i": int64(i)})
	}
	for _, reverse := range []bool{false, true} {
		for _, limit := range []int{1, 5, 22, 23, 24, 100} {
			q := store.Query{Table: store.Rooms, Part: s.part, Reverse: reverse, Limit: limit, Consistency: store.Consistent}
			var got []string
			for pages := 0; ; pages++ {
				page, err := s.db.Query(s.ctx, q)
				if err != nil {
					s.Fatal(err)
				}
				if len(page.Items) > limit {
					s.Errorf("limit %d: a page of %d", limit, len(page.Items))
				}
				for _, it := range page.Items {
					got = append(got, it.Key.Sort)
				}
				if q.After = page.Next; page.Next == "" {
					break
				}
				if pages > len(want)+1 {
					s.Fatalf("limit %d: the pages do not end", limit)
				}
			}
			if !slices.Equal(got, want) {
				s.Errorf("reverse %v, limit %d: got %v", reverse, limit, got)
			}
			q.After = ""
			if got := s.sorts(q); !slices.Equal(got, want[:min(limit, len(want))]) {
				s.Errorf("reverse %v, limit %d: All returned %v", reverse, limit, got)
			}
		}
		slices.Reverse(want)
	}
}

func testQueryBigPages(s *suite) {
	big := strings.Repeat("x", 250<<10)
	var want []string
	for i := range 10 {
		k := fmt.Sprintf("%02d", i)
		want = append(want, k)
		s.put(k, store.Attrs{"v": big})
	}
	q := store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent}
	page, err := s.db.Query(s.ctx, q)
	if err != nil {
		s.Fatal(err)
	}
	if n := len(page.Items); n < 3 || n > 5 || page.Next == "" {
		s.Errorf("a page has %d items of 250 KB and the Next %q", n, page.Next)
	}
	if got := s.sorts(q); !slices.Equal(got, want) {
		s.Errorf("all pages: %v", got)
	}
	q.Limit = 9
	if got := s.sorts(q); !slices.Equal(got, want[:9]) {
		s.Errorf("all pages up to 9: %v", got)
	}
	q.Reverse = true
	slices.Reverse(want)
	if got := s.sorts(q); !slices.Equal(got, want[:9]) {
		s.Errorf("all pages from the end: %v", got)
	}
}

// testPartitions puts items into partitions whose names could be confused.
func testPartitions(s *suite) {
	parts := []string{
		s.part, s.part + "\x00", s.part + "\x00\x01", s.part + "\x00\xc3\xbf", s.part + "\x01", s.part + "a", s.part + "\U0010ffff",
		s.part + strings.Repeat("x", store.MaxPartKey-len(s.part)),
	}
	sorts := []string{"\x00", "\x00\x01b", "\x01", "a", "b", "\U0010ffff"}
	for i, p := range parts {
		for _, k := range sorts {
			s.write(store.Put(store.Rooms, store.Key{Part: p, Sort: k}, store.Attrs{"i": int64(i)}))
		}
	}
	s.write(store.Put(store.Users, s.key("other table"), nil))
	for i, p := range parts {
		for _, reverse := range []bool{false, true} {
			page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: p, Reverse: reverse, Consistency: store.Consistent})
			if err != nil || len(page.Items) != len(sorts) {
				s.Fatalf("partition %d: %v, %v", i, page, err)
			}
			for _, it := range page.Items {
				if it.Key.Part != p || it.Int("i") != int64(i) {
					s.Errorf("partition %d answers an item of %d", i, it.Int("i"))
				}
			}
		}
	}
}
