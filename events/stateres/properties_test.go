package stateres_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// rooms is how many random rooms of each version a test grows.
func rooms() uint64 {
	if testing.Short() {
		return 25
	}
	return 250
}

// Whatever happens in a room, all ways to resolve its states agree with the
// spec's text, whoever asks and however the store answers.
func TestAgreesWithTheSpecWordForWord(t *testing.T) {
	for i, v := range roomversion.All() {
		t.Run(v.ID, func(t *testing.T) {
			merges, conflicts, missing := 0, 0, 0
			for n := range rooms() {
				seed := 1000*uint64(i) + n
				s := newStory(t, v.ID, seed)
				s.grow(30, func(states []stateres.StateMap) stateres.StateMap {
					want, unknown := newReference(v, s.Events).resolve(states)
					stats := s.agree(t, seed, states, want, unknown)
					merges++
					if stats.Conflicted > 0 {
						conflicts++
					}
					if unknown {
						missing++
						return nil
					}
					return want
				})
			}
			t.Logf("%d merges, %d with conflicts, %d with missing events", merges, conflicts, missing)
			if conflicts < merges/2 || !testing.Short() && missing == 0 && v.StateRes != roomversion.StateResV1 {
				t.Error("the rooms are too peaceful to show anything")
			}
		})
	}
}

// agree resolves states in all ways that there are, and compares the results.
func (s *story) agree(t *testing.T, seed uint64, states []stateres.StateMap, want stateres.StateMap, missing bool) stateres.Stats {
	check := func(how string, got stateres.StateMap, err error) {
		t.Helper()
		if missing {
			if unknown := new(stateres.MissingError); !errors.As(err, &unknown) {
				t.Fatalf("seed %d, %s: an event is missing, and the error is %v", seed, how, err)
			}
			return
		}
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("seed %d, %s: %v\n got %v\nwant %v", seed, how, err, got, want)
		}
	}
	got, stats, err := stateres.Resolve(s.Version, states, newCareful(t, s))
	check("whole", got, err)
	if stats.Loaded > len(s.Events)+2 || stats.Batches > stats.Loaded {
		t.Fatalf("seed %d: %+v of %d events", seed, stats, len(s.Events))
	}
	again, sameStats, err := stateres.Resolve(s.Version, states, s)
	check("again", again, err)
	if stats != sameStats {
		t.Fatalf("seed %d: the cost of the same was %+v and %+v", seed, stats, sameStats)
	}

	mixed := slices.Clone(states)
	s.rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	got, _, err = stateres.Resolve(s.Version, mixed, s)
	check("in another order", got, err)

	if !missing {
		got, _, err = stateres.Resolve(s.Version, []stateres.StateMap{want, want}, s)
		check("resolved", got, err)
	}

	exact, lazy := s.Conflict(states...), s.Conflict(states...)
	lazy.Younger = func([]string) ([]string, error) { return slices.Collect(maps.Values(agreed(t, s, lazy, states))), nil }
	for how, c := range map[string]stateres.Conflict{"younger is exact": exact, "younger is everything": lazy} {
		careful := newCareful(t, s)
		resolved, cost, err := stateres.ResolveConflict(s.Version, careful.conflict(c), careful)
		if cost.Loaded > stats.Loaded {
			t.Fatalf("seed %d, %s: it cost more (%+v) than whole maps (%+v)", seed, how, cost, stats)
		}
		if err == nil {
			got = agreed(t, s, c, states)
			for k, id := range resolved {
				if got[k] != "" {
					t.Fatalf("seed %d: %v is not in conflict, and in the result", seed, k)
				}
				got[k] = id
			}
		}
		check(how, got, err)
	}
	return stats
}

// agreed is the unconflicted state of a conflict.
func agreed(t *testing.T, s *story, c stateres.Conflict, states []stateres.StateMap) stateres.StateMap {
	out := stateres.StateMap{}
	for _, state := range states {
		for k := range state {
			ids, err := c.Unconflicted([]auth.Key{k})
			if err != nil {
				t.Fatal(err)
			}
			if ids[0] != "" {
				out[k] = ids[0]
			}
		}
	}
	return out
}

// The spec's words would keep a state event out of the full auth chain of its own
// state. That resolves some conflicts to another state than the servers that
// there are come to, as do auth chains of power events that are followed through
// events outside the full conflicted set; see the package comment.
func TestTheLetterOfTheSpecWouldResolveDifferently(t *testing.T) {
	for _, version := range []string{"2", "11", "12"} {
		differs := false
		for seed := uint64(0); seed < 5000 && !differs; seed++ {
			s := newStory(t, version, seed)
			s.grow(30, func(states []stateres.StateMap) stateres.StateMap {
				literal := newReference(s.Version, s.Events)
				literal.literal = true
				other, unknown := literal.resolve(states)
				if unknown {
					return nil
				}
				got := resolve(t, s.Room, states...)
				differs = differs || !maps.Equal(got, other)
				return got
			})
		}
		if !differs {
			t.Errorf("version %s: no difference was found, so the package comment is wrong", version)
		}
	}
}
