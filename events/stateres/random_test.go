package stateres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/events/stateres/staterestest"
)

// story is a room that grows at random: users do what the rules allow them, on
// several heads of the graph that now and then meet.
type story struct {
	*staterestest.Room
	rng    *rand.Rand
	heads  []stateres.StateMap
	levels int // of the power levels that people give each other
	n      int
	// Some rooms have what rooms should not have.
	rejected, missing, ungenerated bool
}

var people = []string{"alice", "bob", "carol", "dave", "eve"}

func newStory(t testing.TB, version string, seed uint64) *story {
	s := &story{Room: staterestest.New(t, version), rng: rand.New(rand.NewPCG(seed, 0))}
	s.rejected, s.ungenerated = s.chance(3), s.chance(4)
	s.missing = s.chance(20)
	s.levels = 1 + s.rng.IntN(3)
	s.heads = []stateres.StateMap{s.Begin("bob", "carol")}
	return s
}

func (s *story) chance(of int) bool { return s.rng.IntN(of) == 0 }

func (s *story) any(options ...string) string { return options[s.rng.IntN(len(options))] }

func (s *story) user() string { return "@" + s.any(people...) + ":x" }

// grow takes steps. merge is called for the states that meet, and returns the
// state that the story goes on with, nil to end it.
func (s *story) grow(steps int, merge func([]stateres.StateMap) stateres.StateMap) {
	at := s.heads[0]
	for range steps {
		// Forks grow long when people stay on their side.
		if !s.chance(3) {
			s.act(&at)
			continue
		}
		states := []stateres.StateMap{s.heads[s.rng.IntN(len(s.heads))]}
		if s.chance(2) {
			n := 2
			switch {
			case s.chance(8):
				n = 3 + s.rng.IntN(10)
			case s.chance(3):
				n = 3
			}
			for len(states) < n {
				states = append(states, s.heads[s.rng.IntN(len(s.heads))])
			}
		}
		if at = states[0]; len(states) > 1 {
			if at = merge(states); at == nil {
				return
			}
		}
		s.act(&at)
	}
}

// act lets someone do something at a state, if the rules allow it.
func (s *story) act(at *stateres.StateMap) {
	e := s.event()
	s.n++
	e.Name = fmt.Sprintf("%d-%d", s.rng.IntN(1000), s.n)
	e.Timestamp = int64(100 + s.rng.IntN(10)) // often the same
	cites := *at
	if s.chance(8) {
		cites = s.heads[s.rng.IntN(len(s.heads))] // someone who has not heard of all
	}
	view := s.Add(e, cites)
	if !s.Allowed(view, cites) || !s.Allowed(view, *at) {
		delete(s.Events, view.ID)
		delete(s.Sources, view.ID)
		s.Order = s.Order[:len(s.Order)-1]
		return
	}
	// Another server may have given us, as state, what we rejected.
	view.Rejected = s.rejected && s.chance(8)
	if s.missing && s.chance(20) {
		view.AuthEvents = append(view.AuthEvents, s.EventID(fmt.Sprintf("missing-%d", s.rng.IntN(2))))
		view.Generation = 0
	}
	if s.ungenerated && s.chance(8) {
		view.Generation = 0
	}
	*at = staterestest.After(*at, view)
	if s.heads = append(s.heads, *at); len(s.heads) > 14 {
		i := s.rng.IntN(len(s.heads) - 1)
		s.heads = slices.Delete(s.heads, i, i+1)
	}
}

// event is something that someone might want to do.
func (s *story) event() staterestest.Event {
	who, whom := s.user(), s.user()
	member := func(sender, target, membership, more string) staterestest.Event {
		return staterestest.Event{
			Type: "m.room.member", Sender: sender, StateKey: target,
			Content: fmt.Sprintf(`{"membership":%q%s}`, membership, more),
		}
	}
	switch s.rng.IntN(12) {
	case 0, 1, 2:
		return staterestest.Event{Type: "m.room.power_levels", Sender: who, Content: s.powerLevels()}
	case 3:
		rules := []string{"public", "invite"}
		if s.Version.Knock {
			rules = append(rules, "knock")
		}
		if s.Version.Restricted {
			rules = append(rules, "restricted")
		}
		return staterestest.Event{Type: "m.room.join_rules", Sender: who, Content: fmt.Sprintf(`{"join_rule":%q}`, s.any(rules...))}
	case 4:
		return member(who, who, "join", "")
	case 5:
		return member(who, who, "join", fmt.Sprintf(`,"join_authorised_via_users_server":%q`, whom))
	case 6:
		return member(who, who, s.any("leave", "leave", "knock"), "")
	case 7:
		return member(who, whom, "leave", "")
	case 8:
		return member(who, whom, "ban", "")
	case 9:
		return member(who, whom, "invite", "")
	case 10:
		return staterestest.Event{Type: "m.room.third_party_invite", Sender: who, StateKey: s.any("one", "two"), Content: `{}`}
	}
	return staterestest.Event{Type: s.any("m.room.topic", "m.room.name"), Sender: who}
}

// powerLevels are sometimes such that the creator has lost theirs.
func (s *story) powerLevels() string {
	var users []string
	for i, name := range people {
		if i == 0 && s.Version.Creators {
			continue
		}
		level := 100 * s.rng.IntN(s.levels+1) / s.levels
		if i == 0 && !s.chance(4) {
			level = 100
		}
		users = append(users, fmt.Sprintf(`"@%s:x":%d`, name, level))
	}
	return fmt.Sprintf(`{"users":{%s},"state_default":%d,"invite":%d}`,
		strings.Join(users, ","), 25*s.rng.IntN(3), 50*s.rng.IntN(2))
}

// careful is a Source that holds a resolution to what it promises about its
// questions.
type careful struct {
	t      testing.TB
	source stateres.Source
	asked  map[string]bool
	keys   map[auth.Key]bool
}

func newCareful(t testing.TB, source stateres.Source) *careful {
	return &careful{t, source, map[string]bool{}, map[auth.Key]bool{}}
}

func (c *careful) Views(ids []string) ([]*auth.View, error) {
	for _, id := range ids {
		if c.asked[id] {
			c.t.Errorf("%s is asked for twice", id)
		}
		c.asked[id] = true
	}
	return c.source.Views(ids)
}

// conflict wraps a conflict.
func (c *careful) conflict(in stateres.Conflict) stateres.Conflict {
	out := in
	out.Unconflicted = func(keys []auth.Key) ([]string, error) {
		for _, k := range keys {
			if c.keys[k] {
				c.t.Errorf("%v is asked for twice", k)
			}
			c.keys[k] = true
		}
		return in.Unconflicted(keys)
	}
	called := false
	out.Younger = func(ids []string) ([]string, error) {
		if called || len(ids) == 0 {
			c.t.Errorf("younger is asked twice, or about nothing: %v", ids)
		}
		called = true
		return in.Younger(ids)
	}
	return out
}
