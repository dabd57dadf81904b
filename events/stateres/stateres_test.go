package stateres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// world is a room's events.
type world struct {
	t      testing.TB
	v      *roomversion.Version
	room   string
	events map[string]*auth.View
	n      int
}

func newWorld(t testing.TB, version string) *world {
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	w := &world{t: t, v: v, room: "!room:x", events: map[string]*auth.View{}}
	if v.HashRoomIDs {
		w.room = "!create:x"
	}
	return w
}

func (w *world) Views(ids []string) ([]*auth.View, error) {
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		out[i] = w.events[id]
	}
	return out, nil
}

// add makes a state event whose auth events are selected from a state.
func (w *world) add(id, typ, key, sender, content string, ts int64, before stateres.StateMap) *auth.View {
	w.t.Helper()
	e, err := auth.ViewOfBuilder(w.v, &pdu.Builder{
		EventID: id, Type: typ, RoomID: w.room, Sender: sender, StateKey: &key, Content: json.RawMessage(content),
		OriginServerTS: ts, Depth: ts, PrevEvents: []string{"$x:x", "$y:x"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range auth.Needed(w.v, e) {
		if a := before[k]; a != "" {
			e.AuthEvents = append(e.AuthEvents, a)
		}
	}
	if typ == "m.room.create" {
		e.PrevEvents = 0
	}
	w.events[id] = e
	return e
}

func after(s stateres.StateMap, e *auth.View) stateres.StateMap {
	s = maps.Clone(s)
	s[e.Key()] = e.ID
	return s
}

func (w *world) allowed(e *auth.View, s stateres.StateMap) bool {
	at := auth.StateMap{}
	for k, id := range s {
		at[k] = w.events[id]
	}
	return auth.Check(w.v, e, at) == nil
}

// begin makes a public room of alice, who has power levels unless the room
// version makes her infinite, and of members.
func (w *world) begin(members ...string) stateres.StateMap {
	s := stateres.StateMap{}
	step := func(id, typ, key, sender, content string) {
		w.n++
		s = after(s, w.add(id, typ, key, sender, content, int64(w.n), s))
	}
	step("$create:x", "m.room.create", "", "@alice:x", `{"creator":"@alice:x"}`)
	w.n++
	alice := w.add("$alice:x", "m.room.member", "@alice:x", "@alice:x", `{"membership":"join"}`, int64(w.n), s)
	alice.PrevEvents, alice.OnlyPrev = 1, "$create:x"
	s = after(s, alice)
	levels := `{"users":{"@alice:x":100,"@bob:x":50}}`
	if w.v.Creators {
		levels = `{"users":{"@bob:x":50}}`
	}
	step("$levels:x", "m.room.power_levels", "", "@alice:x", levels)
	step("$rules:x", "m.room.join_rules", "", "@alice:x", `{"join_rule":"public"}`)
	for _, m := range members {
		step("$join-"+m+":x", "m.room.member", "@"+m+":x", "@"+m+":x", `{"membership":"join"}`)
	}
	return s
}

func (w *world) resolve(states ...stateres.StateMap) stateres.StateMap {
	w.t.Helper()
	got, _, err := stateres.Resolve(w.v, states, w)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func TestBanBeatsTopicOfTheBanned(t *testing.T) {
	for _, version := range []string{"2", "6", "11", "12"} {
		w := newWorld(t, version)
		s := w.begin("bob", "carol")
		topic := after(s, w.add("$topic:x", "m.room.topic", "", "@bob:x", `{"topic":"x"}`, 100, s))
		banned := after(s, w.add("$ban:x", "m.room.member", "@bob:x", "@alice:x", `{"membership":"ban"}`, 200, s))
		got := w.resolve(topic, banned)
		if got[auth.Key{Type: "m.room.member", StateKey: "@bob:x"}] != "$ban:x" || got[auth.Key{Type: "m.room.topic"}] != "" {
			t.Errorf("version %s: %v", version, got)
		}
	}
}

func TestConflictingPowerLevelsAreResolvedByPower(t *testing.T) {
	for _, version := range []string{"2", "11", "12"} {
		w := newWorld(t, version)
		s := w.begin("bob", "carol")
		base := `{"users":{"@alice:x":100,"@bob:x":50`
		if w.v.Creators {
			base = `{"users":{"@bob:x":50`
		}
		one := after(s, w.add("$bobs:x", "m.room.power_levels", "", "@bob:x", base+`,"@carol:x":40}}`, 100, s))
		two := after(s, w.add("$alices:x", "m.room.power_levels", "", "@alice:x", strings.Replace(base, `"@bob:x":50`, `"@bob:x":0`, 1)+`}}`, 200, s))
		// alice's comes first, and takes bob's power to make his own.
		if got := w.resolve(one, two); got[auth.Key{Type: "m.room.power_levels"}] != "$alices:x" {
			t.Errorf("version %s: %v", version, got)
		}
	}
}

// The example that a well-known library gets wrong: A(ts 1, needs C), B(ts 2),
// C(ts 3) sort as B C A. Power levels events of one sender show the order: the
// last one that applies wins.
func TestLexicographicallySmallestTopologicalOrder(t *testing.T) {
	w := newWorld(t, "11")
	s := w.begin()
	levels := func(n int) string { return fmt.Sprintf(`{"users":{"@alice:x":100,"@bob:x":50},"ban":%d}`, n) }
	c := w.add("$C:x", "m.room.power_levels", "", "@alice:x", levels(3), 300, s)
	a := w.add("$A:x", "m.room.power_levels", "", "@alice:x", levels(1), 100, after(s, c))
	b := w.add("$B:x", "m.room.power_levels", "", "@alice:x", levels(2), 200, s)
	got := w.resolve(after(after(s, c), a), after(s, b))
	if id := got[auth.Key{Type: "m.room.power_levels"}]; id != "$A:x" {
		t.Errorf("%s won; the order was not B C A", id)
	}
}

// https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4297-state-resolution-v2_1.md
// Problem B: when two servers forget different parts of a chain of power levels,
// v2.1 replays the whole chain between them.
func TestSubgraphReplaysTheChainBetweenConflicts(t *testing.T) {
	w := newWorld(t, "12")
	s := w.begin("bob", "carol")
	base := s
	for i := range 5 {
		sender := []string{"@alice:x", "@bob:x"}[i%2]
		content := fmt.Sprintf(`{"users":{"@bob:x":50,"@carol:x":%d}}`, 10+i)
		s = after(s, w.add(fmt.Sprintf("$p%d:x", i), "m.room.power_levels", "", sender, content, int64(100+i), s))
	}
	if got := w.resolve(base, s); got[auth.Key{Type: "m.room.power_levels"}] != "$p4:x" {
		t.Errorf("%v", got)
	}
}

func TestUnknownEventsAreAnErrorAndNotAPanic(t *testing.T) {
	for _, version := range []string{"1", "2", "12"} {
		w := newWorld(t, version)
		s := w.begin("bob")
		a, b := maps.Clone(s), maps.Clone(s)
		a[auth.Key{Type: "m.room.topic"}], b[auth.Key{Type: "m.room.topic"}] = "$gone:x", "$lost:x"
		_, _, err := stateres.Resolve(w.v, []stateres.StateMap{a, b}, w)
		var missing *stateres.MissingError
		if !errors.As(err, &missing) {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

func TestCyclesOfChosenEventIDsEnd(t *testing.T) {
	w := newWorld(t, "2")
	s := w.begin("bob")
	a := w.add("$a:x", "m.room.power_levels", "", "@alice:x", `{"users":{"@alice:x":100}}`, 100, s)
	b := w.add("$b:x", "m.room.power_levels", "", "@alice:x", `{"users":{"@alice:x":100},"ban":1}`, 101, s)
	topic := w.add("$t:x", "m.room.topic", "", "@alice:x", `{}`, 102, after(s, a))
	a.AuthEvents = append(a.AuthEvents, b.ID)
	b.AuthEvents = append(b.AuthEvents, a.ID, b.ID)
	one := w.resolve(after(after(s, a), topic), after(s, b))
	if two := w.resolve(after(s, b), after(after(s, a), topic)); !maps.Equal(one, two) {
		t.Error("order of states matters")
	}
}

func TestVersion1(t *testing.T) {
	w := newWorld(t, "1")
	s := w.begin("bob", "carol")
	topic := func(id string, ts int64, sender string) stateres.StateMap {
		return after(s, w.add(id, "m.room.topic", "", sender, `{}`, ts, s))
	}
	deep, deeper := topic("$t1:x", 100, "@bob:x"), topic("$t2:x", 200, "@alice:x")
	if got := w.resolve(deep, deeper); got[auth.Key{Type: "m.room.topic"}] != "$t2:x" {
		t.Errorf("the highest depth does not win: %v", got)
	}
	forbidden := topic("$t3:x", 300, "@carol:x")
	if got := w.resolve(deep, deeper, forbidden); got[auth.Key{Type: "m.room.topic"}] != "$t2:x" {
		t.Errorf("an event that is not allowed wins: %v", got)
	}
	if got := w.resolve(deep, s); got[auth.Key{Type: "m.room.topic"}] != "$t1:x" {
		t.Errorf("a key that one state lacks is in conflict: %v", got)
	}
	kick := after(s, w.add("$kick:x", "m.room.member", "@carol:x", "@bob:x", `{"membership":"leave"}`, 100, s))
	if got := w.resolve(s, kick); got[auth.Key{Type: "m.room.member", StateKey: "@carol:x"}] != "$kick:x" {
		t.Errorf("the later, allowed membership does not win: %v", got)
	}
}

// random grows a room with forks and merges, and calls merged for each merge of
// states that it makes.
func (w *world) random(rng *rand.Rand, steps int, merged func([]stateres.StateMap) stateres.StateMap) {
	users := []string{"alice", "bob", "carol", "dave", "eve"}
	type head struct{ state stateres.StateMap }
	heads := []head{{w.begin("bob", "carol", "dave")}}
	pick := func() string { return "@" + users[rng.Intn(len(users))] + ":x" }
	for i := range steps {
		var states []stateres.StateMap
		for range 1 + rng.Intn(3) {
			states = append(states, heads[rng.Intn(len(heads))].state)
		}
		s := states[0]
		if len(states) > 1 {
			s = merged(states)
		}
		sender, target := pick(), pick()
		typ, key, content := "m.room.topic", "", fmt.Sprintf(`{"topic":"%d"}`, i)
		switch rng.Intn(8) {
		case 0, 1:
			typ = "m.room.power_levels"
			admin := `"@alice:x":100,`
			if w.v.Creators {
				admin = ""
			}
			content = fmt.Sprintf(`{"users":{%s"@bob:x":%d,"@carol:x":%d,"@dave:x":%d},"state_default":%d}`,
				admin, 10*rng.Intn(11), 10*rng.Intn(6), 10*rng.Intn(6), 10*rng.Intn(4))
		case 2:
			typ, content = "m.room.join_rules", []string{`{"join_rule":"public"}`, `{"join_rule":"invite"}`}[rng.Intn(2)]
		case 3, 4:
			typ, key, sender, content = "m.room.member", target, target, []string{`{"membership":"join"}`, `{"membership":"leave"}`}[rng.Intn(2)]
		case 5, 6:
			typ, key = "m.room.member", target
			content = []string{`{"membership":"leave"}`, `{"membership":"ban"}`, `{"membership":"invite"}`}[rng.Intn(3)]
		}
		id := fmt.Sprintf("$%d-%d:x", rng.Intn(1000), i)
		e := w.add(id, typ, key, sender, content, int64(100+rng.Intn(steps)), s)
		if !w.allowed(e, s) {
			delete(w.events, id)
			continue
		}
		// Another server may have given us, as state, what we rejected.
		e.Rejected = rng.Intn(8) == 0
		heads = append(heads, head{after(s, e)})
		if len(heads) > 6 {
			heads = slices.Delete(heads, 0, 1)
		}
	}
}

func TestAgreesWithTheSpecWordForWord(t *testing.T) {
	rooms := 60
	if testing.Short() {
		rooms = 10
	}
	merges, conflicts := 0, 0
	for seed := range rooms {
		for _, version := range []string{"2", "11", "12"} {
			rng := rand.New(rand.NewSource(int64(seed)))
			w := newWorld(t, version)
			w.random(rng, 60, func(states []stateres.StateMap) stateres.StateMap {
				got, stats, err := stateres.Resolve(w.v, states, w)
				if err != nil {
					t.Fatal(err)
				}
				if merges++; stats.Conflicted > 0 {
					conflicts++
				}
				if want := (reference{w.v, w.events}).resolve(states); !maps.Equal(got, want) {
					t.Fatalf("seed %d, version %s:\n got %v\nwant %v", seed, version, got, want)
				}
				return got
			})
		}
	}
	t.Logf("%d merges, %d with conflicts", merges, conflicts)
}

func TestOrderOfStatesDoesNotMatter(t *testing.T) {
	for seed := range 40 {
		for _, version := range []string{"1", "2", "12"} {
			rng := rand.New(rand.NewSource(int64(1000 + seed)))
			w := newWorld(t, version)
			w.random(rng, 60, func(states []stateres.StateMap) stateres.StateMap {
				first := w.resolve(states...)
				mixed := slices.Clone(states)
				rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
				if got := w.resolve(mixed...); !maps.Equal(first, got) {
					t.Fatalf("seed %d, version %s: order matters", seed, version)
				}
				if got := w.resolve(first, first); !maps.Equal(first, got) {
					t.Fatalf("seed %d, version %s: agreement is not kept", seed, version)
				}
				return first
			})
		}
	}
}

// Whatever a server sends for auth events, the algorithms end, do not panic, and
// do not depend on the order of states.
func FuzzArbitraryGraphs(f *testing.F) {
	for seed := range int64(20) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed int64, version uint8) {
		all := roomversion.All()
		w := newWorld(t, all[int(version)%len(all)].ID)
		rng := rand.New(rand.NewSource(seed))
		base := w.begin("bob", "carol")
		ids := slices.Sorted(maps.Keys(w.events))
		for i := range 30 {
			ids = append(ids, fmt.Sprintf("$e%d:x", i))
		}
		ids = append(ids, "$unknown:x")
		states := []stateres.StateMap{maps.Clone(base), maps.Clone(base), {}}
		for _, id := range ids[len(base) : len(ids)-1] {
			user := []string{"@alice:x", "@bob:x", "@carol:x"}[rng.Intn(3)]
			typ := []string{"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.topic"}[rng.Intn(5)]
			key := []string{"", user}[rng.Intn(2)]
			content := []string{`{}`, `{"membership":"ban"}`, `{"membership":"join"}`, `{"users":{"@bob:x":100}}`, `{"join_rule":"knock"}`}[rng.Intn(5)]
			e := w.add(id, typ, key, user, content, int64(rng.Intn(5)), stateres.StateMap{})
			e.Rejected = rng.Intn(4) == 0
			for range rng.Intn(6) {
				e.AuthEvents = append(e.AuthEvents, ids[rng.Intn(len(ids))])
			}
			states[rng.Intn(len(states))][e.Key()] = id
		}
		one, _, err := stateres.Resolve(w.v, states, w)
		if err != nil {
			var missing *stateres.MissingError
			if !errors.As(err, &missing) {
				t.Fatal(err)
			}
			return
		}
		slices.Reverse(states)
		if two := w.resolve(states...); !maps.Equal(one, two) {
			t.Fatal("order of states matters")
		}
	})
}
