package stateres_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/stateres"
)

// conflictOf compares states that differ in a few keys, as a store that keeps
// states as trees does without reading them whole. The auth difference beyond
// the conflicted events is empty in these rooms; what it costs a store to know
// that is not measured here.
func conflictOf(base stateres.StateMap, keys []auth.Key, states ...stateres.StateMap) stateres.Conflict {
	c := stateres.Conflict{Younger: func([]string) ([]string, error) { return nil, nil }}
	in := map[auth.Key]bool{}
	for _, k := range keys {
		in[k] = true
	}
	c.Unconflicted = func(k auth.Key) string {
		if in[k] {
			return ""
		}
		return base[k]
	}
	for _, s := range states {
		set := stateres.StateMap{}
		for _, k := range keys {
			if id, ok := s[k]; ok {
				set[k] = id
			}
		}
		c.Sets = append(c.Sets, set)
	}
	return c
}

// big is a room with members, and two states that differ in topic and power levels.
func big(b testing.TB, version string, members int) (*world, stateres.StateMap, stateres.StateMap, stateres.StateMap) {
	w := newWorld(b, version)
	s := w.begin("bob")
	for i := range members {
		user := fmt.Sprintf("@u%d:x", i)
		e := w.add(fmt.Sprintf("$u%d:x", i), "m.room.member", user, user, `{"membership":"join"}`, int64(100+i), s)
		s[e.Key()] = e.ID
	}
	admin := `"@alice:x":100,`
	if w.v.Creators {
		admin = ""
	}
	one, two := maps.Clone(s), maps.Clone(s)
	for i, side := range []stateres.StateMap{one, two} {
		p := w.add(fmt.Sprintf("$p%d:x", i), "m.room.power_levels", "", "@alice:x", fmt.Sprintf(`{"users":{%s"@bob:x":%d}}`, admin, 50+i), int64(1000000+i), side)
		side[p.Key()] = p.ID
		t := w.add(fmt.Sprintf("$t%d:x", i), "m.room.topic", "", "@bob:x", `{}`, int64(2000000+i), side)
		side[t.Key()] = t.ID
	}
	return w, s, one, two
}

func BenchmarkResolve(b *testing.B) {
	keys := []auth.Key{{Type: "m.room.power_levels"}, {Type: "m.room.topic"}}
	for _, version := range []string{"11", "12"} {
		for _, members := range []int{1000, 10000, 100000} {
			b.Run(fmt.Sprintf("v%s/members=%d/diffed", version, members), func(b *testing.B) {
				w, s, one, two := big(b, version, members)
				c := conflictOf(s, keys, one, two)
				var stats stateres.Stats
				for b.Loop() {
					var err error
					if _, stats, err = stateres.ResolveConflict(w.v, c, w); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(stats.Loaded), "loaded")
				b.ReportMetric(float64(stats.Batches), "batches")
			})
			if members > 10000 {
				continue
			}
			b.Run(fmt.Sprintf("v%s/members=%d/whole", version, members), func(b *testing.B) {
				w, _, one, two := big(b, version, members)
				var stats stateres.Stats
				for b.Loop() {
					var err error
					if _, stats, err = stateres.Resolve(w.v, []stateres.StateMap{one, two}, w); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(stats.Loaded), "loaded")
			})
		}
	}
}

// Two power level changes on one side of a fork: the first is in one auth chain
// and in no state, so without an index (Conflict.AuthDifference) the auth events
// of the whole agreed state have to be read. This is the expensive case, and the
// reason why the store brings the difference.
func BenchmarkResolveWithoutIndex(b *testing.B) {
	for _, members := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("v11/members=%d", members), func(b *testing.B) {
			w, s, one, _ := big(b, "11", members)
			p := w.add("$again:x", "m.room.power_levels", "", "@alice:x", `{"users":{"@alice:x":100,"@bob:x":60}}`, 3000000, one)
			one[p.Key()] = p.ID
			var stats stateres.Stats
			for b.Loop() {
				var err error
				if _, stats, err = stateres.Resolve(w.v, []stateres.StateMap{s, one}, w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(stats.Loaded), "loaded")
		})
	}
}

// rounds is the attack on the conflicted state subgraph: rounds of profile,
// power level and join rule changes, each with more paths than the last.
func rounds(b testing.TB, n int) (*world, stateres.StateMap, stateres.StateMap) {
	w := newWorld(b, "12")
	base := w.begin("bob")
	s := base
	for i := range n {
		s = after(s, w.add(fmt.Sprintf("$m%d:x", i), "m.room.member", "@alice:x", "@alice:x", fmt.Sprintf(`{"membership":"join","displayname":"%d"}`, i), int64(100+3*i), s))
		s = after(s, w.add(fmt.Sprintf("$p%d:x", i), "m.room.power_levels", "", "@alice:x", fmt.Sprintf(`{"users":{"@bob:x":%d}}`, i), int64(101+3*i), s))
		s = after(s, w.add(fmt.Sprintf("$j%d:x", i), "m.room.join_rules", "", "@alice:x", []string{`{"join_rule":"public"}`, `{"join_rule":"invite"}`}[i%2], int64(102+3*i), s))
	}
	return w, base, s
}

func BenchmarkAdversarialRounds(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, base, s := rounds(b, n)
			for b.Loop() {
				got, _, err := stateres.Resolve(w.v, []stateres.StateMap{base, s}, w)
				if err != nil || !maps.Equal(got, s) {
					b.Fatal(err, "the chain was not replayed")
				}
			}
		})
	}
}
