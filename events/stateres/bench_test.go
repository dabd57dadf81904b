package stateres_test

import (
	"fmt"
	"testing"

	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

func report(b *testing.B, stats stateres.Stats) {
	b.ReportMetric(float64(stats.Loaded), "loaded")
	b.ReportMetric(float64(stats.Batches), "batches")
	b.ReportMetric(float64(stats.Steps), "steps")
}

// diffed resolves a fork as a store does that compares states without reading
// them whole.
func diffed(b *testing.B, f *staterestest.Fork) {
	c := f.Conflict(f.One, f.Two)
	var stats stateres.Stats
	for b.Loop() {
		var err error
		if _, stats, err = stateres.ResolveConflict(f.Version, c, f); err != nil {
			b.Fatal(err)
		}
	}
	report(b, stats)
}

// whole resolves a fork from whole maps.
func whole(b *testing.B, f *staterestest.Fork) {
	var stats stateres.Stats
	for b.Loop() {
		var err error
		if _, stats, err = stateres.Resolve(f.Version, []stateres.StateMap{f.One, f.Two}, f); err != nil {
			b.Fatal(err)
		}
	}
	report(b, stats)
}

// A topic and a power level conflict.
func BenchmarkLarge(b *testing.B) {
	for _, version := range []string{"1", "11", "12"} {
		for _, members := range []int{1000, 10_000, 40_000, 100_000} {
			f := staterestest.Large(b, version, members)
			b.Run(fmt.Sprintf("v%s/members=%d/diffed", version, members), func(b *testing.B) { diffed(b, f) })
			b.Run(fmt.Sprintf("v%s/members=%d/whole", version, members), func(b *testing.B) { whole(b, f) })
		}
	}
}

// Two power level changes on one side. From whole maps, which do not tell the age
// of events, the whole agreed state is read.
func BenchmarkOneSided(b *testing.B) {
	for _, version := range []string{"11", "12"} {
		for _, members := range []int{1000, 10_000, 100_000} {
			f := staterestest.OneSided(b, version, members)
			b.Run(fmt.Sprintf("v%s/members=%d/diffed", version, members), func(b *testing.B) { diffed(b, f) })
			if members <= 10_000 {
				b.Run(fmt.Sprintf("v%s/members=%d/whole", version, members), func(b *testing.B) { whole(b, f) })
			}
		}
	}
}

// The attack on the conflicted state subgraph.
func BenchmarkRounds(b *testing.B) {
	for _, version := range []string{"11", "12"} {
		for _, n := range []int{4, 6, 8, 10, 30, 100} {
			f := staterestest.Rounds(b, version, n)
			b.Run(fmt.Sprintf("v%s/%d", version, n), func(b *testing.B) { diffed(b, f) })
		}
	}
}
