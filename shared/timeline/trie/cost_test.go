package trie

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// itemOverhead is what a chunk's item adds to its data in the store: partition
// key with a 44 byte room id, sort key, birth date, attribute names.
const itemOverhead = 44 + 6 + 32 + 8 + 20

// TestCostOfAMemberChange prints what a join and a change of membership write.
//
// The design (data-model.md, 2) was simulated at 3.0, 3.3 and 4.0 write units
// and 2.1, 2.8 and 3.4 KB for 1k, 10k and 100k members. Replacing an entry stays
// within that at all three. A join also does at 1k and 100k, but not at 10k: a
// leaf that passes 900 bytes becomes a node and up to sixteen small leaves, once
// in its life, and as paths are uniform the leaves of a level do so in the same
// stretch of the room's growth. 500 and 15,000 members are about the worst of
// the two such stretches and are listed for that reason; what they add
// to a whole life of joins is in TestCostOfARoomsGrowth.
func TestCostOfAMemberChange(t *testing.T) {
	t.Logf("%8s %-7s %7s %7s %7s %8s %8s %8s", "members", "change", "chunks", "most", "WU", "data KB", "item KB", "reads")
	for _, c := range []struct {
		members       int
		join, replace float64 // most write units, items included
		kib           float64
	}{
		{3, 1, 1, 1}, {12, 2, 2, 2}, {100, 2.3, 2, 1.6},
		{500, 4.5, 2.7, 2.1}, {1000, 3.1, 3, 2.1}, {10_000, 3.9, 3.3, 2.8}, {15_000, 5.3, 3.8, 3.4}, {100_000, 4.1, 4, 3.4},
	} {
		root, m := build(t, append(basics(), members(c.members)...))
		for _, change := range []string{"join", "replace"} {
			r := rand.New(rand.NewPCG(3, 3))
			const samples = 400
			limit := map[string]float64{"join": c.join, "replace": c.replace}[change]
			var chunks, most, units, data, items, reads int
			for range samples {
				e := member(c.members + r.IntN(1_000_000))
				if change == "replace" {
					e = Entry{member(r.IntN(c.members)).Key, eventID(r.Uint64())}
				}
				count := &counter{Memory: m}
				_, written, err := Update(ctx, count, testRoom, root, []Entry{e})
				if err != nil {
					t.Fatal(err)
				}
				reads += count.chunks
				chunks += len(written)
				most = max(most, len(written))
				for _, w := range written {
					item := len(w.Data) + itemOverhead
					units += (item + 1023) / 1024
					data += len(w.Data)
					items += item
				}
			}
			per := func(n int) float64 { return float64(n) / samples }
			t.Logf("%8d %-7s %7.2f %7d %7.2f %8.2f %8.2f %8.2f", c.members, change, per(chunks), most, per(units), per(data)/1024, per(items)/1024, per(reads))
			if per(units) > limit || per(items)/1024 > c.kib {
				t.Errorf("%d members, %s: %.2f write units and %.2f KB, want at most %.1f and %.1f", c.members, change, per(units), per(items)/1024, limit, c.kib)
			}
		}
	}
}

// TestCostOfARoomsGrowth prints what the whole history of a room's joins keeps.
func TestCostOfARoomsGrowth(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	root, m := build(t, basics())
	path := &recorder{Memory: m}
	var bytes, units int
	for i := range n {
		path.read = path.read[:0]
		next, chunks, err := Update(ctx, path, testRoom, root, []Entry{member(i)})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range path.read { // what a join reads, it replaces
			delete(m, h)
		}
		m.Add(chunks)
		for _, c := range chunks {
			bytes += len(c.Data) + itemOverhead
			units += (len(c.Data) + itemOverhead + 1023) / 1024
		}
		root = next
	}
	t.Logf("%d joins one by one: %d MB in items, %.2f write units each", n, bytes>>20, float64(units)/float64(n))
	if limit := 3600 * n; bytes > limit {
		t.Errorf("%d bytes, want at most %d", bytes, limit)
	}
	want, all := build(t, append(basics(), members(n)...))
	if root != want || len(m) != len(all) {
		t.Errorf("root %s of %d chunks, built at once %s of %d", root, len(m), want, len(all))
	}
}

// recorder remembers what it was asked for.
type recorder struct {
	Memory
	read []Hash
}

func (r *recorder) Load(ctx context.Context, hashes []Hash) (map[Hash][]byte, error) {
	r.read = append(r.read, hashes...)
	return r.Memory.Load(ctx, hashes)
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			root, m := build(b, append(basics(), members(n)...))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, err := Update(ctx, m, testRoom, root, []Entry{member(n + i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookupAuth(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			root, m := build(b, append(basics(), members(n)...))
			keys := []Key{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.join_rules", ""}, member(0).Key}
			b.ReportAllocs()
			for b.Loop() {
				if got, err := Lookup(ctx, m, testRoom, root, keys); err != nil || len(got) != len(keys) {
					b.Fatal(got, err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	entries := append(basics(), members(100000)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Build(testRoom, entries); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	root, m := build(b, append(basics(), members(100000)...))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := Walk(ctx, m, testRoom, root, WalkAll, func(Entry) bool { n++; return true }); err != nil || n < 100000 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	root, m := build(b, append(basics(), members(100000)...))
	next := update(b, m, root, member(100001))
	b.ReportAllocs()
	for b.Loop() {
		if changes, err := Diff(ctx, m, testRoom, root, next); err != nil || len(changes) != 1 {
			b.Fatal(changes, err)
		}
	}
}
