package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-im/virga/shared/store"
)

func testConcurrentWrites(s *suite) {
	const writers, each = 8, 10
	var wg sync.WaitGroup
	var won atomic.Int64
	var seen sync.Map
	for i := range writers {
		wg.Go(func() {
			for range each {
				it := s.write(store.Update(store.Rooms, s.key("counter")).Add("n", 1))
				if _, twice := seen.LoadOrStore(it.Int("n"), i); twice {
					s.Errorf("two additions returned %d", it.Int("n"))
				}
			}
		})
		wg.Go(func() {
			for {
				_, err := s.db.Write(s.ctx, store.Put(store.Rooms, s.key("once"), store.Attrs{"by": int64(i)}).If(store.NotExists()))
				if again(err) {
					continue
				}
				if err == nil {
					won.Add(1)
				} else if failed := store.Failed(err); failed == nil || !failed.Failed[0].Exists() {
					s.Errorf("the loser of a race: %v", err)
				}
				return
			}
		})
	}
	wg.Wait()
	if n := s.get("counter").Int("n"); n != writers*each {
		s.Errorf("%d additions made %d", writers*each, n)
	}
	if won.Load() != 1 {
		s.Errorf("%d of %d won", won.Load(), writers)
	}
}

// testConcurrentTransactions moves money between accounts in several
// partitions, with an account book whose entries are numbered without gaps.
func testConcurrentTransactions(s *suite) {
	const accounts, movers, each = 4, 6, 6
	account := func(i int) store.Key { return store.Key{Part: s.other(fmt.Sprint("account ", i)), Sort: "balance"} }
	for i := range accounts {
		s.write(store.Put(store.Rooms, account(i), store.Attrs{"n": int64(100)}))
	}
	s.put("head", store.Attrs{"n": int64(0)})
	move := func(from, to int, amount int64) {
		for {
			head := s.get("head").Int("n")
			err := s.db.Transact(s.ctx,
				store.Update(store.Rooms, s.key("head")).Set("n", head+1).If(store.Equal("n", head)),
				store.Put(store.Rooms, s.key(fmt.Sprintf("entry %03d", head+1)), store.Attrs{"amount": amount}).If(store.NotExists()),
				store.Update(store.Rooms, account(from)).Add("n", -amount),
				store.Update(store.Rooms, account(to)).Add("n", amount),
			)
			if err == nil {
				return
			}
			if failed := store.Failed(err); failed != nil {
				if it := failed.Failed[0]; it.Int("n") == head {
					s.Errorf("the condition on the head failed with %v, which it asked for", it)
				}
				continue
			}
			if !again(err) {
				s.Errorf("transact: %v", err)
				return
			}
		}
	}
	var wg sync.WaitGroup
	for i := range movers {
		wg.Go(func() {
			for j := range each {
				move((i+j)%accounts, (i+j+1)%accounts, int64(1+i))
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for i := range accounts {
		it, err := s.db.Get(s.ctx, store.Ref{Table: store.Rooms, Key: account(i)}, store.Consistent)
		if err != nil {
			s.Fatal(err)
		}
		sum += it.Int("n")
	}
	if sum != accounts*100 {
		s.Errorf("the sum is %d, want %d", sum, accounts*100)
	}
	entries := s.sorts(store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent}.Prefix("entry "))
	if head := s.get("head").Int("n"); head != movers*each || len(entries) != movers*each {
		s.Errorf("%d transactions, the head is at %d and there are %d entries", movers*each, head, len(entries))
	}
}

func testConsistency(s *suite) {
	for i := range 20 {
		s.put("k", store.Attrs{"i": int64(i)})
		s.want("consistent get", s.get("k"), "k", store.Attrs{"i": int64(i)})
		page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: s.part, Consistency: store.Consistent})
		if err != nil || len(page.Items) != 1 || page.Items[0].Int("i") != int64(i) {
			s.Fatalf("consistent query: %v, %v", page, err)
		}
		items, err := s.db.BatchGet(s.ctx, []store.Ref{s.ref("k")}, store.Consistent)
		if err != nil || len(items) != 1 || items[0].Int("i") != int64(i) {
			s.Fatalf("consistent batch get: %v, %v", items, err)
		}
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		it, err := s.db.Get(s.ctx, s.ref("k"), store.Eventual)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			s.Fatal(err)
		}
		page, err := s.db.Query(s.ctx, store.Query{Table: store.Rooms, Part: s.part})
		if err != nil {
			s.Fatal(err)
		}
		if it.Int("i") == 19 && len(page.Items) == 1 && page.Items[0].Int("i") == 19 {
			return
		}
		if time.Since(start) > 5*time.Second {
			s.Fatalf("eventual reads still see %v and %v", it, page)
		}
	}
}
