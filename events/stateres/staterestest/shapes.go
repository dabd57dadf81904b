package staterestest

import (
	"fmt"
	"maps"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/stateres"
)

// Fork is a room and two states of it after a fork, with that before it.
type Fork struct {
	*Room
	Before, One, Two stateres.StateMap
}

// Large is a room with members, and a fork whose sides differ in topic and power
// levels. The topic of side one and the power levels of side one win.
func Large(t testing.TB, version string, members int) *Fork {
	t.Helper()
	r := New(t, version)
	f := &Fork{Room: r, Before: r.Begin("bob")}
	r.join(f.Before, members)
	f.One, f.Two = maps.Clone(f.Before), maps.Clone(f.Before)
	for i, side := range []stateres.StateMap{f.One, f.Two} {
		r.apply(side, Event{
			Name: fmt.Sprintf("levels-%d", i), Type: "m.room.power_levels", Sender: "@alice:x",
			Content: r.Levels(fmt.Sprintf(`"@bob:x":%d`, 50+i), ""), Timestamp: int64(10_000_000 + i),
		})
		r.apply(side, Event{Name: fmt.Sprintf("topic-%d", i), Type: "m.room.topic", Sender: "@bob:x", Timestamp: int64(20_000_000 + i)})
	}
	return f
}

// OneSided is a room with members, and a fork of which one side changes the power
// levels twice while the other does nothing: the first change is in the auth
// chain of one side and in the state of none. Meanwhile ten members join on both
// sides, so that there are agreed events that are younger than the fork.
func OneSided(t testing.TB, version string, members int) *Fork {
	t.Helper()
	r := New(t, version)
	f := &Fork{Room: r, Before: r.Begin("bob")}
	r.join(f.Before, members)
	f.One, f.Two = maps.Clone(f.Before), maps.Clone(f.Before)
	for i := range 2 {
		r.apply(f.One, Event{
			Name: fmt.Sprintf("levels-%d", i), Type: "m.room.power_levels", Sender: "@alice:x",
			Content: r.Levels(fmt.Sprintf(`"@bob:x":%d`, 60+i), ""), Timestamp: int64(10_000_000 + i),
		})
	}
	for i := range 10 {
		user := fmt.Sprintf("@late%d:x", i)
		e := r.apply(f.Two, Event{
			Name: fmt.Sprintf("late-%d", i), Type: "m.room.member", StateKey: user, Sender: user,
			Content: `{"membership":"join"}`, Timestamp: int64(10_000_010 + i),
		})
		f.One[e.Key()] = e.ID
	}
	return f
}

// Rounds is the attack on the conflicted state subgraph: n rounds of profile,
// power level and join rule changes on one side of a fork, each of which
// multiplies the paths through the auth events. Side two is the state before.
// The state of side one wins in room version 12.
func Rounds(t testing.TB, version string, n int) *Fork {
	t.Helper()
	r := New(t, version)
	f := &Fork{Room: r, Before: r.Begin("bob")}
	f.One, f.Two = maps.Clone(f.Before), f.Before
	for i := range n {
		ts := int64(100 + 3*i)
		r.apply(f.One, Event{
			Name: fmt.Sprintf("profile-%d", i), Type: "m.room.member", StateKey: "@alice:x", Sender: "@alice:x",
			Content: fmt.Sprintf(`{"membership":"join","displayname":"%d"}`, i), Timestamp: ts,
		})
		r.apply(f.One, Event{
			Name: fmt.Sprintf("levels-%d", i), Type: "m.room.power_levels", Sender: "@alice:x",
			Content: r.Levels(fmt.Sprintf(`"@bob:x":%d`, i), ""), Timestamp: ts + 1,
		})
		r.apply(f.One, Event{
			Name: fmt.Sprintf("rules-%d", i), Type: "m.room.join_rules", Sender: "@alice:x",
			Content: []string{`{"join_rule":"public"}`, `{"join_rule":"invite"}`}[i%2], Timestamp: ts + 2,
		})
	}
	return f
}

// join lets members join, in place.
func (r *Room) join(s stateres.StateMap, members int) {
	for i := range members {
		user := fmt.Sprintf("@u%d:x", i)
		r.apply(s, Event{
			Name: fmt.Sprintf("u%d", i), Type: "m.room.member", StateKey: user, Sender: user,
			Content: `{"membership":"join"}`, Timestamp: int64(100 + i),
		})
	}
}

// apply adds an event and changes the state in place, which After would copy.
func (r *Room) apply(s stateres.StateMap, e Event) *auth.View {
	view := r.Add(e, s)
	s[view.Key()] = view.ID
	return view
}
