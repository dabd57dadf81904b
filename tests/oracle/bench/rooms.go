package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
	"github.com/virga-im/virga/tests/oracle/room"
)

// bound is how long gomatrixserverlib may take for one room. A room that will
// take it longer, as the last two sizes tell, is not tried.
const bound = 10 * time.Second

// A series is one shape of room in some sizes.
type series struct {
	version string
	sizes   []int
	name    string
	make    func(t testing.TB, version string, n int) *staterestest.Fork
}

var allSeries = []series{
	{"11", []int{1000, 10_000, 40_000, 100_000}, "version 11, %s members: a topic and power levels", staterestest.Large},
	{"12", []int{1000, 10_000, 40_000, 100_000}, "version 12, %s members: a topic and power levels", staterestest.Large},
	{"12", []int{4, 6, 8, 10, 30, 100}, "version 12, %s rounds of the attack on the conflicted subgraph", staterestest.Rounds},
}

func newRoomTable() *table {
	return newTable("a room with two states", "~ours", "~ours from whole maps", "~gomatrixserverlib", "~times ours from whole maps",
		"events loaded", "of gomatrixserverlib", "steps")
}

func roomTable(c clock) (*table, error) {
	t := newRoomTable()
	for _, s := range allSeries {
		past := &extrapolation{}
		for _, n := range s.sizes {
			f := s.make(must{}, s.version, n)
			ours, whole, stats, err := resolveOurs(c, f)
			if err != nil {
				return nil, err
			}
			theirs, err := past.try(c, f, n)
			if err != nil {
				return nil, err
			}
			t.row(fmt.Sprintf(s.name, grouped(n)), ours, whole, theirs, times(theirs, whole), grouped(stats.Loaded), grouped(reachable(f)), grouped(stats.Steps))
		}
	}
	return t, nil
}

// resolveOurs resolves a fork as a store does, which compares states without
// reading them whole, and from whole maps, which is what the library gets.
func resolveOurs(c clock, f *staterestest.Fork) (ours, whole timing, stats stateres.Stats, err error) {
	conflict, states := f.Conflict(f.One, f.Two), []stateres.StateMap{f.One, f.Two}
	m, err := c.time(func() (err error) {
		_, stats, err = stateres.ResolveConflict(f.Version, conflict, f)
		return err
	}, func() error {
		_, _, err := stateres.Resolve(f.Version, states, f)
		return err
	})
	if err != nil {
		return ours, whole, stats, err
	}
	return m[0], m[1], stats, nil
}

// extrapolation remembers how a series went so far.
type extrapolation struct {
	sizes  []int
	took   []time.Duration
	gaveUp bool
}

// tooLong reports whether the next size will take longer than bound, by the
// growth between the last two. What is larger than a room that was not tried is
// not tried either.
func (x *extrapolation) tooLong(n int) bool {
	i := len(x.took) - 1
	if x.gaveUp || i < 1 {
		return x.gaveUp
	}
	power := math.Log(float64(x.took[i])/float64(x.took[i-1])) / math.Log(float64(x.sizes[i])/float64(x.sizes[i-1]))
	x.gaveUp = x.took[i].Seconds()*math.Pow(float64(n)/float64(x.sizes[i]), power) > bound.Seconds()
	return x.gaveUp
}

// try lets gomatrixserverlib resolve a fork, unless it would take too long.
func (x *extrapolation) try(c clock, f *staterestest.Fork, n int) (timing, error) {
	if c.stopped {
		return timing{}, nil
	}
	if x.tooLong(n) {
		return timing{word: "> 10 s, not tried"}, nil
	}
	known, states, err := theirForm(f)
	if err != nil {
		return timing{}, err
	}
	r := &room.Room{V: f.Version, Theirs: gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(f.Version.ID))}
	var got stateres.StateMap
	var failed error
	run := func() error { got, failed = r.Resolve(known, states...); return nil }
	var t timing
	room.Quietly(func() {
		begin := time.Now()
		_ = run()
		if t.each = time.Since(begin); t.each < time.Second/4 {
			var m []timing
			if m, err = c.time(run); err == nil {
				t = m[0]
			}
		}
	})
	if err != nil {
		return t, err
	}
	x.sizes, x.took = append(x.sizes, n), append(x.took, t.each)
	switch want, _, err := stateres.Resolve(f.Version, []stateres.StateMap{f.One, f.Two}, f); {
	case err != nil:
		return t, err
	case failed != nil && strings.HasPrefix(failed.Error(), "panic"):
		t.word = t.String() + ", then panics"
	case failed != nil:
		return t, failed
	case !maps.Equal(got, want):
		t.word = t.String() + ", and differs"
	}
	return t, nil
}

// theirForm makes gomatrixserverlib's events of a fork's.
func theirForm(f *staterestest.Fork) (known []gomatrixserverlib.PDU, states [][]gomatrixserverlib.PDU, err error) {
	version := gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(f.Version.ID))
	all := make(map[string]gomatrixserverlib.PDU, len(f.Events))
	for _, id := range f.Order {
		b := f.Sources[id]
		raw, err := b.Template(f.Version)
		if err != nil {
			return nil, nil, err
		}
		e, err := version.NewEventFromTrustedJSONWithEventID(id, raw, false)
		if err != nil {
			return nil, nil, err
		}
		all[id] = e
		known = append(known, e)
	}
	for _, s := range []stateres.StateMap{f.One, f.Two} {
		var list []gomatrixserverlib.PDU
		for _, id := range s {
			list = append(list, all[id])
		}
		states = append(states, list)
	}
	return known, states, nil
}

// reachable is how many events gomatrixserverlib has to be given: those of the
// states and of their auth chains.
func reachable(f *staterestest.Fork) int {
	seen := map[string]bool{}
	var todo []string
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			todo = append(todo, id)
		}
	}
	for _, s := range []stateres.StateMap{f.One, f.Two} {
		for _, id := range s {
			add(id)
		}
	}
	for len(todo) > 0 {
		e := f.Events[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, a := range e.AuthEvents {
			add(a)
		}
	}
	return len(seen)
}

// grouped writes a number with commas.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// must is what the builders of rooms report to outside a test: they fail only if
// the rooms in this file are wrong.
type must struct{ testing.TB }

func (must) Helper()                   {}
func (must) Fatal(args ...any)         { panic(errors.New(fmt.Sprint(args...))) }
func (must) Fatalf(f string, a ...any) { panic(fmt.Errorf(f, a...)) }
