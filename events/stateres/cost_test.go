package stateres_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

// cost resolves a fork as a store does that compares states.
func cost(t *testing.T, f *staterestest.Fork) (stateres.StateMap, stateres.Stats) {
	t.Helper()
	c := newCareful(t, f)
	got, stats, err := stateres.ResolveConflict(f.Version, c.conflict(f.Conflict(f.One, f.Two)), c)
	if err != nil {
		t.Fatal(err)
	}
	return got, stats
}

// steep reports that the steps of some work that is times as large are more than
// it and the logarithm of sorting explain.
func steep(small, large stateres.Stats, times int) bool {
	return large.Steps > small.Steps*times*3/2
}

// A conflict costs the same in a room of any size.
func TestCostFollowsTheConflictAndNotTheRoom(t *testing.T) {
	shapes := []func(testing.TB, string, int) *staterestest.Fork{staterestest.Large, staterestest.OneSided}
	for i, shape := range shapes {
		for _, version := range []string{"1", "2", "11", "12"} {
			small := 100
			_, first := cost(t, shape(t, version, small))
			sizes := []int{10_000}
			// Rooms of that size take longer to make than to resolve.
			if version == []string{"12", "11"}[i] && !testing.Short() {
				sizes = append(sizes, 100_000)
			}
			for _, n := range sizes {
				_, stats := cost(t, shape(t, version, n))
				if stats.Loaded > 50 || stats.Loaded > 2*first.Loaded || stats.Steps > 2*first.Steps {
					t.Errorf("version %s, shape %d, %d members: %+v; %d members: %+v", version, i, n, stats, small, first)
				}
			}
		}
	}
}

// Whole maps do not tell the age of events. They are read once, in few batches.
func TestWholeMapsAreReadOnce(t *testing.T) {
	f := staterestest.OneSided(t, "11", 1000)
	got, stats, err := stateres.Resolve(f.Version, []stateres.StateMap{f.One, f.Two}, newCareful(t, f))
	if err != nil || stats.Loaded > len(f.Events) || stats.Batches > 6 {
		t.Errorf("%+v, %v", stats, err)
	}
	want, _ := cost(t, f)
	for k, id := range want {
		if got[k] != id {
			t.Errorf("%v is %s of whole maps, %s of a conflict", k, got[k], id)
		}
	}
}

// What a member can multiply by sending events costs no more than the events do.
func TestRoundsOfChangesCostWhatTheyAre(t *testing.T) {
	for _, version := range []string{"1", "11", "12"} {
		var last stateres.Stats
		for _, n := range []int{10, 100, 1000} {
			f := staterestest.Rounds(t, version, n)
			got, stats := cost(t, f)
			if version != "1" && stats.Loaded > 3*n+10 || stats.Batches > 2*n+10 {
				t.Errorf("version %s, %d rounds: %+v", version, n, stats)
			}
			if last.Steps > 0 && steep(last, stats, 10) {
				t.Errorf("version %s: %d steps for %d rounds, %d for %d", version, stats.Steps, n, last.Steps, n/10)
			}
			last = stats
			if state := maps.Clone(f.Two); version == "12" {
				if maps.Copy(state, got); !maps.Equal(state, f.One) {
					t.Errorf("%d rounds were not replayed", n)
				}
			}
		}
	}
}

// history is a room whose power levels were changed many times before a topic and
// n times after it, and two states that agree on all but the topic: that one, and
// one from the end.
func history(t *testing.T, version string, n int) *staterestest.Fork {
	r := staterestest.New(t, version)
	f := &staterestest.Fork{Room: r, Before: r.Begin("bob")}
	change := func(i int) {
		e := r.Add(levels(fmt.Sprintf("l%d", i), "alice", r.Levels(fmt.Sprintf(`"@bob:x":%d`, i%50), ""), int64(100+i)), f.Before)
		f.Before[e.Key()] = e.ID
	}
	for i := range 3000 {
		change(i)
	}
	old := r.Add(topic("old", "alice", 3500), f.Before)
	for i := range n {
		change(4000 + i)
	}
	f.One = staterestest.After(f.Before, old)
	f.Two = staterestest.After(f.Before, r.Add(topic("new", "alice", 1_000_000), f.Before))
	return f
}

// Auth chains and the mainline are followed no further back than the oldest of
// what is in conflict, and not at all where the room version does not need them.
func TestHistoryBeforeTheConflictIsNotRead(t *testing.T) {
	for _, version := range []string{"1", "2", "11", "12"} {
		for _, n := range []int{0, 1, 10, 100} {
			f := history(t, version, n)
			got, stats := cost(t, f)
			if got[topicKey] != f.EventID("new") {
				t.Errorf("version %s: %v", version, got)
			}
			if stats.Loaded > n+10 || stats.Steps > 20*n+100 {
				t.Errorf("version %s, %d changes: %+v", version, n, stats)
			}
		}
	}
}

// Changes by different people have different events behind them, which are part of
// the state that all agree on: there is nothing to be sought there, and nobody to
// be asked.
func TestChangesThatShareTheirStateCostNothingMore(t *testing.T) {
	for _, version := range []string{"2", "11", "12"} {
		f := history(t, version, 0)
		r := f.Room
		f.One = staterestest.After(f.Before, r.Add(topic("by-alice", "alice", 5000), f.Before))
		f.Two = staterestest.After(f.Before, r.Add(topic("by-bob", "bob", 5001), f.Before))
		f.Two = staterestest.After(f.Two, r.Add(staterestest.Event{Name: "name", Type: "m.room.name", Sender: "@bob:x", Timestamp: 5002}, f.Two))
		c := f.Conflict(f.One, f.Two)
		c.Younger = func(ids []string) ([]string, error) {
			t.Errorf("version %s: the store is asked about %v", version, ids)
			return nil, nil
		}
		_, stats, err := stateres.ResolveConflict(f.Version, c, f)
		if err != nil || stats.Loaded > 10 || stats.Batches > 4 {
			t.Errorf("version %s: %+v, %v", version, stats, err)
		}
	}
}

// A store that has not set generations gets the right state, though it pays for
// it with the whole auth chain.
func TestWithoutGenerationsChainsAreWalked(t *testing.T) {
	for _, version := range []string{"2", "11", "12"} {
		f := history(t, version, 10)
		want, _ := cost(t, f)
		for _, e := range f.Events {
			e.Generation = 0
		}
		got, stats := cost(t, f)
		if !maps.Equal(got, want) {
			t.Errorf("version %s: %v without generations, %v with", version, got, want)
		}
		if stats.Steps > 100*len(f.Events) {
			t.Errorf("version %s: %+v", version, stats)
		}
	}
}
