package local

import (
	"context"
	"fmt"
	"testing"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
)

// A snapshot is one moment, of all tables: what is written later is not in it, and
// of a transaction there is all or nothing.
func TestSnapshotsAreOneMoment(t *testing.T) {
	l, err := Open(NewMemory().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx := grant.With(t.Context(), "test", grant.Of(grant.WriteTable("users", "events")), nil)
	write := func(n int) {
		t.Helper()
		var ws []store.Write
		for _, table := range []*store.Table{store.Users, store.Events} {
			for i := range 5 {
				ws = append(ws, store.Put(table, store.Key{Part: fmt.Sprint("P\x00", i), Sort: "s"}, store.Attrs{"n": int64(n)}))
			}
		}
		if err := l.DB().Transact(ctx, ws...); err != nil {
			t.Error(err)
		}
	}
	writing, stop := context.WithCancel(ctx)
	write(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; writing.Err() == nil; n++ {
			write(n)
		}
	}()
	for range 50 {
		s, err := l.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]int{}
		for _, table := range []*store.Table{store.Users, store.Events} {
			for it, err := range s.Items(t.Context(), table) {
				if err != nil {
					t.Fatal(err)
				}
				seen[it.Int("n")]++
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 1 {
			t.Fatalf("items of several moments: %v", seen)
		}
	}
	stop()
	<-done
	l.Close()
	if _, err := l.Snapshot(); err == nil {
		t.Error("a closed store has a snapshot")
	}
}
