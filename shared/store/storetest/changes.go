package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// Follow delivers the changes of a stream under the name of a follower until
// ctx ends, as local.Follow does.
type Follow func(ctx context.Context, s store.ChangeStream, name string, handle func(context.Context, []store.Change) error) error

// RunChanges tests that writes of a streamed table are published. The database
// must not be written by others in a way that they mind being read.
func RunChanges(t *testing.T, db store.DB, follow Follow) {
	for name, test := range map[string]func(*testing.T, store.DB, Follow){
		"LastWriteIsSeen": testLastWriteIsSeen,
		"EveryWrite":      testEveryWrite,
		"ErrorsComeAgain": testErrorsComeAgain,
	} {
		t.Run(name, func(t *testing.T) { test(t, db, follow) })
	}
}

// following runs a follower for the time of the test.
func following(t *testing.T, follow Follow, name string, handle func(context.Context, []store.Change) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(Context(t.Context()))
	done := make(chan error)
	go func() { done <- follow(ctx, store.Rooms.Changes(), name, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("follow: %v", err)
		}
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > 15*time.Second {
			t.Fatalf("%s: not after 15 s", what)
		}
	}
}

// testLastWriteIsSeen reads each changed item when its change comes: at last
// the reader has seen the last version of each.
func testLastWriteIsSeen(t *testing.T, db store.DB, follow Follow) {
	const items, versions = 5, 20
	part := "changes " + rand.Text()
	var mu sync.Mutex
	seen := map[string]int64{}
	following(t, follow, "last", func(ctx context.Context, changes []store.Change) error {
		for _, c := range changes {
			if c.Key.Part != part {
				continue
			}
			it, err := db.Get(ctx, store.Ref{Table: c.Table, Key: c.Key}, store.Consistent)
			if err != nil {
				return err
			}
			mu.Lock()
			seen[c.Key.Sort] = max(seen[c.Key.Sort], it.Int("v"))
			mu.Unlock()
		}
		return nil
	})
	ctx := Context(t.Context())
	var wg sync.WaitGroup
	for i := range items {
		wg.Go(func() {
			for v := range versions {
				w := store.Put(store.Rooms, store.Key{Part: part, Sort: fmt.Sprint("item ", i)}, store.Attrs{"v": int64(v + 1)})
				if _, err := db.Write(ctx, w); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "the last version of each item", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for i := range items {
			if seen[fmt.Sprint("item ", i)] != versions {
				return false
			}
		}
		return true
	})
}

// testEveryWrite makes one write of each kind.
func testEveryWrite(t *testing.T, db store.DB, follow Follow) {
	part := "changes " + rand.Text()
	key := func(sort string) store.Key { return store.Key{Part: part, Sort: sort} }
	ctx := Context(t.Context())
	var mu sync.Mutex
	seen := map[string]int{}
	following(t, follow, "every", func(_ context.Context, changes []store.Change) error {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range changes {
			if c.Key.Part != part {
				continue
			}
			if c.Table != store.Rooms || c.Expired {
				t.Errorf("change %+v", c)
			}
			seen[c.Key.Sort]++
		}
		return nil
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(w store.Write) {
		t.Helper()
		_, err := db.Write(ctx, w)
		must(err)
	}
	write(store.Put(store.Rooms, key("put"), store.Attrs{"a": "x"}))
	write(store.Update(store.Rooms, key("update")).Add("n", 1))
	write(store.Put(store.Rooms, key("delete"), nil))
	write(store.Put(store.Users, key("not streamed"), nil))
	must(db.Transact(ctx,
		store.Put(store.Rooms, key("transact put"), nil),
		store.Update(store.Rooms, key("transact update")).Set("a", "x"),
		store.Check(store.Rooms, key("checked"), store.NotExists()),
	))
	if err := db.Transact(ctx, store.Put(store.Rooms, key("failed"), nil), store.Check(store.Rooms, key("put"), store.NotExists())); store.Failed(err) == nil {
		t.Fatalf("got %v, want a failed condition", err)
	}
	want := []string{"put", "update", "delete", "transact put", "transact update"}
	eventually(t, "a change of every write", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range want {
			if seen[k] == 0 {
				return false
			}
		}
		return true
	})
	mu.Lock()
	before := seen["delete"]
	for k := range seen {
		if k == "not streamed" || k == "checked" || k == "failed" {
			t.Errorf("a change of %q", k)
		}
	}
	mu.Unlock()
	write(store.Delete(store.Rooms, key("delete")))
	eventually(t, "a change of the delete", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen["delete"] > before
	})
}

// testErrorsComeAgain refuses each change the first time.
func testErrorsComeAgain(t *testing.T, db store.DB, follow Follow) {
	part := "changes " + rand.Text()
	var mu sync.Mutex
	tries := map[string]int{}
	following(t, follow, "again", func(_ context.Context, changes []store.Change) error {
		mu.Lock()
		defer mu.Unlock()
		first := false
		for _, c := range changes {
			if c.Key.Part == part {
				tries[c.Key.Sort]++
				first = first || tries[c.Key.Sort] == 1
			}
		}
		if first {
			return errors.New("not the first time")
		}
		return nil
	})
	ctx := Context(t.Context())
	for i := range 3 {
		if _, err := db.Write(ctx, store.Put(store.Rooms, store.Key{Part: part, Sort: fmt.Sprint(i)}, nil)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "each change for the second time", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return tries["0"] > 1 && tries["1"] > 1 && tries["2"] > 1
	})
}
