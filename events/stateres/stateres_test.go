package stateres_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

var (
	topicKey  = auth.Key{Type: "m.room.topic"}
	levelsKey = auth.Key{Type: "m.room.power_levels"}
)

func memberKey(name string) auth.Key {
	return auth.Key{Type: "m.room.member", StateKey: "@" + name + ":x"}
}

// after is a state after an event that is made there.
func after(r *staterestest.Room, s stateres.StateMap, e staterestest.Event) stateres.StateMap {
	return staterestest.After(s, r.Add(e, s))
}

func topic(name, sender string, ts int64) staterestest.Event {
	return staterestest.Event{Name: name, Type: "m.room.topic", Sender: "@" + sender + ":x", Timestamp: ts}
}

func levels(name, sender, content string, ts int64) staterestest.Event {
	return staterestest.Event{Name: name, Type: "m.room.power_levels", Sender: "@" + sender + ":x", Content: content, Timestamp: ts}
}

func member(name, sender, target, membership string, ts int64) staterestest.Event {
	return staterestest.Event{
		Name: name, Type: "m.room.member", Sender: "@" + sender + ":x", StateKey: "@" + target + ":x",
		Content: fmt.Sprintf(`{"membership":%q}`, membership), Timestamp: ts,
	}
}

func resolve(t *testing.T, r *staterestest.Room, states ...stateres.StateMap) stateres.StateMap {
	t.Helper()
	got, _, err := stateres.Resolve(r.Version, states, newCareful(t, r))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// everyV2 runs a test in a room of each version that has algorithm 2 or 2.1.
func everyV2(t *testing.T, test func(t *testing.T, r *staterestest.Room)) {
	for _, v := range roomversion.All() {
		if v.StateRes != roomversion.StateResV1 {
			t.Run(v.ID, func(t *testing.T) { test(t, staterestest.New(t, v.ID)) })
		}
	}
}

func TestBanBeatsTopicOfTheBanned(t *testing.T) {
	everyV2(t, func(t *testing.T, r *staterestest.Room) {
		s := r.Begin("bob", "carol")
		changed := after(r, s, topic("topic", "bob", 100))
		banned := after(r, s, member("ban", "alice", "bob", "ban", 200))
		got := resolve(t, r, changed, banned)
		if got[memberKey("bob")] != r.EventID("ban") || got[topicKey] != "" {
			t.Errorf("%v", got)
		}
	})
}

func TestBanBeatsJoinOfTheBanned(t *testing.T) {
	everyV2(t, func(t *testing.T, r *staterestest.Room) {
		s := r.Begin("bob", "carol")
		banned := after(r, s, member("ban", "alice", "carol", "ban", 200))
		left := after(r, s, member("left", "carol", "carol", "leave", 300))
		back := after(r, left, member("back", "carol", "carol", "join", 400))
		if got := resolve(t, r, back, banned); got[memberKey("carol")] != r.EventID("ban") {
			t.Errorf("%v", got)
		}
	})
}

func TestConflictingPowerLevelsAreResolvedByPower(t *testing.T) {
	everyV2(t, func(t *testing.T, r *staterestest.Room) {
		s := r.Begin("bob", "carol")
		one := after(r, s, levels("bobs", "bob", r.Levels(`"@bob:x":50,"@carol:x":40`, ""), 100))
		two := after(r, s, levels("alices", "alice", r.Levels(`"@bob:x":0`, ""), 200))
		// alice's comes first, and takes bob's power to make his own.
		if got := resolve(t, r, one, two); got[levelsKey] != r.EventID("alices") {
			t.Errorf("%v", got)
		}
	})
}

// A(ts 1, needs C), B(ts 2), C(ts 3) sort as B C A, which a well-known library
// gets wrong. Power levels events of one sender show the order: the last one that
// applies wins.
func TestLexicographicallySmallestTopologicalOrder(t *testing.T) {
	everyV2(t, func(t *testing.T, r *staterestest.Room) {
		s := r.Begin()
		content := func(n int) string { return r.Levels(`"@bob:x":50`, fmt.Sprintf(`"ban":%d`, n)) }
		c := after(r, s, levels("C", "alice", content(3), 300))
		a := after(r, c, levels("A", "alice", content(1), 100))
		b := after(r, s, levels("B", "alice", content(2), 200))
		if got := resolve(t, r, a, b); got[levelsKey] != r.EventID("A") {
			t.Errorf("%s won; the order was not B C A", got[levelsKey])
		}
	})
}

// Problem B of MSC4297: when servers forgot different parts of a chain of power
// levels, version 12 replays the whole chain between them.
//
// https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4297-state-resolution-v2_1.md
func TestSubgraphReplaysTheChainBetweenConflicts(t *testing.T) {
	r := staterestest.New(t, "12")
	base := r.Begin("bob", "carol")
	s := base
	for i := range 5 {
		content := r.Levels(fmt.Sprintf(`"@bob:x":50,"@carol:x":%d`, 10+i), "")
		s = after(r, s, levels(fmt.Sprintf("p%d", i), []string{"alice", "bob"}[i%2], content, int64(100+i)))
	}
	if got := resolve(t, r, base, s); got[levelsKey] != r.EventID("p4") {
		t.Errorf("%v", got)
	}
}

// Problem A of MSC4297: version 12 starts from nothing, so that what the states
// agree on does not decide about events that were there before it.
func TestUnconflictedStateDoesNotUndoWhatCameBeforeIt(t *testing.T) {
	winner := map[string]string{"11": "", "12": "topic"}
	for version, want := range winner {
		r := staterestest.New(t, version)
		s := r.Begin("bob")
		with := after(r, s, topic("topic", "bob", 100))
		left := r.Add(member("left", "bob", "bob", "leave", 200), with)
		got := resolve(t, r, staterestest.After(with, left), staterestest.After(s, left))
		if want != "" {
			want = r.EventID(want)
		}
		if got[topicKey] != want {
			t.Errorf("version %s: the topic of a member who left is %q", version, got[topicKey])
		}
	}
}

func TestUnknownEventsAreAnErrorAndNotAPanic(t *testing.T) {
	for _, v := range roomversion.All() {
		r := staterestest.New(t, v.ID)
		s := r.Begin("bob")
		a, b := maps.Clone(s), maps.Clone(s)
		a[topicKey], b[topicKey] = r.EventID("gone"), r.EventID("lost")
		_, _, err := stateres.Resolve(v, []stateres.StateMap{a, b}, r)
		var missing *stateres.MissingError
		if !errors.As(err, &missing) {
			t.Errorf("version %s: %v", v.ID, err)
		}
	}
}

func TestErrorsOfTheStoreAreReturned(t *testing.T) {
	broken := errors.New("broken")
	for _, v := range roomversion.All() {
		f := staterestest.OneSided(t, v.ID, 3)
		c := f.Conflict(f.One, f.Two)
		c.Unconflicted = func([]auth.Key) ([]string, error) { return nil, broken }
		if _, _, err := stateres.ResolveConflict(v, c, f); v.StateRes != roomversion.StateResV21 && !errors.Is(err, broken) {
			t.Errorf("version %s: %v", v.ID, err)
		}
		if _, _, err := stateres.ResolveConflict(v, f.Conflict(f.One, f.Two), failing{broken}); !errors.Is(err, broken) {
			t.Errorf("version %s: %v", v.ID, err)
		}
	}
	f := staterestest.OneSided(t, "11", 3)
	c := f.Conflict(f.One, f.Two)
	c.Younger = func([]string) ([]string, error) { return nil, broken }
	if _, _, err := stateres.ResolveConflict(f.Version, c, f); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Views([]string) ([]*auth.View, error) { return nil, f.err }

func TestCyclesOfChosenEventIDsEnd(t *testing.T) {
	r := staterestest.New(t, "2")
	s := r.Begin("bob")
	a := r.Add(levels("a", "alice", r.Levels("", ""), 100), s)
	b := r.Add(levels("b", "alice", r.Levels("", `"ban":1`), 101), s)
	one := after(r, staterestest.After(s, a), topic("t", "alice", 102))
	a.AuthEvents = append(a.AuthEvents, b.ID)
	b.AuthEvents = append(b.AuthEvents, a.ID, b.ID)
	for _, id := range r.Order[len(r.Order)-3:] {
		r.Events[id].Generation = 0
	}
	first := resolve(t, r, one, staterestest.After(s, b))
	if second := resolve(t, r, staterestest.After(s, b), one); !maps.Equal(first, second) {
		t.Error("order of states matters")
	}
}

func TestVersion1(t *testing.T) {
	r := staterestest.New(t, "1")
	s := r.Begin("bob", "carol")
	deep, deeper := after(r, s, topic("t1", "bob", 100)), after(r, s, topic("t2", "alice", 200))
	if got := resolve(t, r, deep, deeper); got[topicKey] != r.EventID("t2") {
		t.Errorf("the highest depth does not win: %v", got)
	}
	forbidden := after(r, s, topic("t3", "carol", 300))
	if got := resolve(t, r, deep, deeper, forbidden); got[topicKey] != r.EventID("t2") {
		t.Errorf("an event that is not allowed wins: %v", got)
	}
	if got := resolve(t, r, deep, s); got[topicKey] != r.EventID("t1") {
		t.Errorf("a key that one state lacks is in conflict: %v", got)
	}
	kick := after(r, s, member("kick", "bob", "carol", "leave", 100))
	if got := resolve(t, r, s, kick); got[memberKey("carol")] != r.EventID("kick") {
		t.Errorf("the later, allowed membership does not win: %v", got)
	}
	kicked := after(r, s, member("kicked", "carol", "bob", "leave", 100))
	if got := resolve(t, r, s, kicked); got[memberKey("bob")] != r.EventID("join-bob") {
		t.Errorf("a membership that is not allowed wins: %v", got)
	}
}

// Sets of states are kept in words of 64.
func TestMoreThan64States(t *testing.T) {
	for _, version := range []string{"1", "11", "12"} {
		r := staterestest.New(t, version)
		s := r.Begin("bob")
		var states []stateres.StateMap
		for i := range 70 {
			side := s
			if i%7 != 0 {
				side = after(r, s, levels(fmt.Sprintf("l%d", i), "alice", r.Levels(fmt.Sprintf(`"@bob:x":%d`, i%60), ""), int64(100+i%3)))
			}
			if i%2 == 0 {
				side = after(r, side, levels(fmt.Sprintf("m%d", i), "bob", strings.Replace(r.Levels(fmt.Sprintf(`"@bob:x":%d`, i%60), ""), "}}", `},"ban":1}`, 1), int64(200+i%5)))
			}
			states = append(states, after(r, side, topic(fmt.Sprintf("t%d", i), "bob", int64(300-i))))
		}
		want, _ := newReference(r.Version, r.Events).resolve(states)
		if got := resolve(t, r, states...); !maps.Equal(got, want) {
			t.Errorf("version %s:\n got %v\nwant %v", version, got, want)
		}
	}
}
