package local_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
)

// Benchmarks run on disk, with every write synced.

var kilobyte = store.Attrs{"body": strings.Repeat("x", 900), "sender": "@user:example.org", "ts": int64(1700000000000), "flag": true}

func benchDB(b *testing.B) *local.Local { return open(b, local.Options{Dir: b.TempDir()}) }

func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers, " writers"), func(b *testing.B) {
			db, ctx := benchDB(b).DB(), all(b.Context())
			var n atomic.Int64
			b.SetParallelism((writers + 1) / 2)
			if writers == 1 {
				b.SetParallelism(1)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					k := store.Key{Part: fmt.Sprint("room", i%50), Sort: fmt.Sprintf("%09d", i)}
					if _, err := db.Write(ctx, store.Put(store.Users, k, kilobyte)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkTransact(b *testing.B) {
	db, ctx := benchDB(b).DB(), all(b.Context())
	var n atomic.Int64
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		room := fmt.Sprint("room", n.Add(1))
		for v := int64(0); pb.Next(); v++ {
			head := store.Update(store.Rooms, store.Key{Part: room, Sort: "HEAD"}).Set("v", v+1)
			if v > 0 {
				head = head.If(store.Equal("v", v))
			}
			err := db.Transact(ctx, head,
				store.Put(store.Rooms, store.Key{Part: room, Sort: fmt.Sprintf("E#%09d", v)}, kilobyte).If(store.NotExists()),
				store.Put(store.Events, store.Key{Part: fmt.Sprint(room, v), Sort: "EV"}, store.Attrs{"room": room, "pos": v}))
			if err != nil {
				b.Error(err)
			}
		}
	})
}

func filled(b *testing.B) store.DB {
	db := open(b, local.Options{Dir: b.TempDir(), NoSync: true}).DB()
	ctx := all(b.Context())
	for i := range 10000 {
		k := store.Key{Part: fmt.Sprint("room", i/100), Sort: fmt.Sprintf("%03d", i%100)}
		ws := []store.Write{store.Put(store.Users, k, kilobyte)}
		if err := db.Transact(ctx, ws...); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	b.ReportAllocs()
	return db
}

func BenchmarkGet(b *testing.B) {
	db, ctx := filled(b), all(b.Context())
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		i := int(n.Add(1)) * 7919
		for pb.Next() {
			i++
			k := store.Key{Part: fmt.Sprint("room", i%100), Sort: fmt.Sprintf("%03d", i%97)}
			if _, err := db.Get(ctx, store.Ref{Table: store.Users, Key: k}, store.Consistent); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkGetMissing(b *testing.B) {
	db, ctx := filled(b), all(b.Context())
	for i := range b.N {
		k := store.Key{Part: fmt.Sprint("room", i%100), Sort: "none"}
		if _, err := db.Get(ctx, store.Ref{Table: store.Users, Key: k}, store.Consistent); err == nil {
			b.Error("found")
		}
	}
}

func BenchmarkQuery20(b *testing.B) {
	db, ctx := filled(b), all(b.Context())
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			q := store.Query{Table: store.Users, Part: fmt.Sprint("room", i%100), From: "040", Limit: 20, Reverse: i%2 == 0, Consistency: store.Consistent}
			if page, err := db.Query(ctx, q); err != nil || len(page.Items) < 20 {
				b.Error(len(page.Items), err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	ctx := all(b.Context())
	l := open(b, local.Options{Dir: dir, NoSync: true})
	for i := range 5000 {
		if _, err := l.DB().Write(ctx, store.Put(store.Rooms, store.Key{Part: "p", Sort: fmt.Sprint(i)}, kilobyte)); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	b.ResetTimer()
	var opening time.Duration
	for range b.N {
		start := time.Now()
		l, err := local.Open(local.Options{Dir: dir})
		opening += time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
	b.ReportMetric(float64(opening.Microseconds())/float64(b.N)/1000, "ms/open")
}
