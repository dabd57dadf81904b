package stateres

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
)

// What a room resolves to hides much of what is in its full conflicted set and in
// which order, so these tests look at them directly, in graphs denser than those
// of rooms.

type mapSource map[string]*auth.View

func (m mapSource) Views(ids []string) ([]*auth.View, error) {
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		out[i] = m[id]
	}
	return out, nil
}

// dense makes events that cite others before them, of the type and with the state
// key that name gives them. Some graphs lack generations, in whole or in part.
func dense(rng *rand.Rand, n, cites int, name func(i int) auth.Key) (mapSource, []string) {
	events, ids := mapSource{}, make([]string, n)
	near, unset := 2+rng.IntN(n), []int{0, 0, 1, 6}[rng.IntN(4)] // one of unset has none
	for i := range n {
		ids[i] = fmt.Sprintf("$%d-%d", rng.IntN(100), i)
		k := name(i)
		e := &auth.View{ID: ids[i], Type: k.Type, State: true, StateKey: k.StateKey, OriginServerTS: int64(rng.IntN(3)), Generation: 1}
		for range rng.IntN(cites + 1) {
			if i > 0 {
				e.AuthEvents = append(e.AuthEvents, ids[i-1-rng.IntN(min(i, near))])
			}
		}
		for _, a := range e.AuthEvents {
			if events[a].Generation == 0 {
				e.Generation = 0
				break
			}
			e.Generation = max(e.Generation, events[a].Generation+1)
		}
		if unset > 0 && rng.IntN(unset) == 0 {
			e.Generation = 0
		}
		events[e.ID] = e
	}
	return events, ids
}

// closure is the events and all that is behind them.
func (m mapSource) closure(ids ...string) map[string]bool {
	all := map[string]bool{}
	for todo := ids; len(todo) > 0; todo = todo[1:] {
		if id := todo[0]; !all[id] {
			all[id] = true
			todo = append(slices.Clone(todo), m[id].AuthEvents...)
		}
	}
	return all
}

func TestFullConflictedSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	v2, _ := roomversion.Get("11")
	v21, _ := roomversion.Get("12")
	graphs := 12_000
	if testing.Short() {
		graphs = 600
	}
	for graph := range graphs {
		keys := 1 + rng.IntN(12)
		events, ids := dense(rng, 4+rng.IntN(30), 1+rng.IntN(3), func(int) auth.Key {
			return auth.Key{Type: "m.room.member", StateKey: fmt.Sprint(rng.IntN(keys))}
		})
		states := make([]StateMap, 2+rng.IntN(3))
		for i := range states {
			states[i] = StateMap{}
		}
		for k := range keys {
			same := rng.IntN(2) == 0
			for i := range states {
				for _, id := range ids {
					if events[id].StateKey == fmt.Sprint(k) && rng.IntN(3) == 0 {
						states[i][events[id].Key()] = id
						if same {
							for j := range states {
								states[j][events[id].Key()] = id
							}
						}
					}
				}
			}
		}
		agreed, sets := separate(states, false)
		conflicted := conflictedIDs(sets)
		if len(conflicted) == 0 {
			continue
		}

		want := map[string]bool{}
		in := map[string]int{}
		for _, s := range states {
			for id := range events.closure(slices.Collect(maps.Values(s))...) {
				in[id]++
			}
		}
		for id, n := range in {
			if n < len(states) || slices.Contains(conflicted, id) {
				want[id] = true
			}
		}
		compare := func(v *roomversion.Version) {
			c := Conflict{
				Sets: sets,
				Unconflicted: func(keys []auth.Key) ([]string, error) {
					out := make([]string, len(keys))
					for i, k := range keys {
						out[i] = agreed[k]
					}
					return out, nil
				},
				Younger: func([]string) ([]string, error) { return slices.Collect(maps.Values(agreed)), nil },
			}
			r := &resolver{v: v, views: newViews(events, c), state: StateMap{}}
			got, err := r.fullConflictedSet(c)
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, e := range got {
				found[e.ID] = true
			}
			if len(found) != len(got) || !maps.Equal(found, want) {
				t.Fatalf("graph %d, version %s:\n got %v\nwant %v", graph, v.ID, found, want)
			}
		}
		compare(v2)
		for _, from := range conflicted {
			for id := range events.closure(from) {
				for _, to := range conflicted {
					if events.closure(id)[to] {
						want[id] = true
					}
				}
			}
		}
		compare(v21)
	}
}

func TestMainlineOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 0))
	v, _ := roomversion.Get("11")
	graphs := 10_000
	if testing.Short() {
		graphs = 1000
	}
	for graph := range graphs {
		events, ids := dense(rng, 3+rng.IntN(20), 1, func(int) auth.Key { return levelsKey })
		from := ""
		if rng.IntN(10) > 0 {
			from = ids[rng.IntN(len(ids))]
		}
		behind := func(id string) []string { // itself first
			var list []string
			for id != "" {
				list = append(list, id)
				if cited := events[id].AuthEvents; len(cited) == 0 {
					break
				} else {
					id = cited[0]
				}
			}
			return list
		}
		mainline := behind(from)
		position := map[string]int{}
		var list []*auth.View
		var cited []string
		for i := range 1 + rng.IntN(6) {
			e := &auth.View{ID: fmt.Sprintf("$e%d", i), Type: "m.room.topic", State: true, OriginServerTS: int64(rng.IntN(3))}
			position[e.ID] = beyond
			if rng.IntN(8) > 0 {
				e.AuthEvents = []string{ids[rng.IntN(len(ids))]}
				for _, l := range behind(e.AuthEvents[0]) {
					if at := slices.Index(mainline, l); at >= 0 {
						position[e.ID] = at
						break
					}
				}
			}
			list, cited = append(list, e), append(cited, e.AuthEvents...)
		}
		r := &resolver{v: v, views: newViews(events, Conflict{}), state: StateMap{}}
		if err := r.views.load(cited); err != nil {
			t.Fatal(err)
		}
		got, err := r.sortByMainline(list, from)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(list)
		slices.SortFunc(want, func(x, y *auth.View) int {
			return cmp.Or(cmp.Compare(position[y.ID], position[x.ID]), cmp.Compare(x.OriginServerTS, y.OriginServerTS), cmp.Compare(x.ID, y.ID))
		})
		if !slices.Equal(got, want) {
			t.Fatalf("graph %d: mainline %v, positions %v", graph, mainline, position)
		}
	}
}

// The order of two events, of which one has power levels from long ago, does not
// depend on how long ago exactly.
func TestMainlineIsNotFollowedForOneEvent(t *testing.T) {
	v, _ := roomversion.Get("11")
	events := mapSource{}
	last := ""
	for i := range int64(1000) {
		e := &auth.View{ID: fmt.Sprintf("$%d", i), Type: levelsKey.Type, State: true, Generation: i + 1}
		if last != "" {
			e.AuthEvents = []string{last}
		}
		last = e.ID
		events[last] = e
	}
	list := []*auth.View{
		{ID: "$new", Type: "m.room.topic", State: true, AuthEvents: []string{"$990"}},
		{ID: "$old", Type: "m.room.topic", State: true, AuthEvents: []string{"$10"}, OriginServerTS: 1},
	}
	r := &resolver{v: v, views: newViews(events, Conflict{}), state: StateMap{}}
	if err := r.views.load([]string{"$990", "$10"}); err != nil {
		t.Fatal(err)
	}
	got, err := r.sortByMainline(list, last)
	if err != nil || got[0].ID != "$old" || r.views.stats.Loaded > 12 {
		t.Errorf("%v first, %+v, %v", got[0].ID, r.views.stats, err)
	}
}
