// Package staterestest makes rooms whose states can be resolved, for tests and
// benchmarks of state resolution: small ones event by event, and shapes that are
// hard to resolve.
//
// The rooms are honest: every event cites the auth events that the spec selects,
// unless a test changes its view afterwards.
package staterestest

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// Room is the events of one room. It is a stateres.Source of their views.
type Room struct {
	Version *roomversion.Version
	ID      string
	Events  map[string]*auth.View
	// Sources holds what each event was made of, its event id and auth events
	// included, for those who want the event and not its view. The prev_events
	// are not those of a real room, and where ids are hashes the id only looks
	// like one.
	Sources map[string]*pdu.Builder
	// Order lists the ids in the order in which the events were added, as a store
	// would have come to know them.
	Order []string

	t  testing.TB
	ts int64 // of the last event of Begin
}

// New makes a room without events.
func New(t testing.TB, version string) *Room {
	t.Helper()
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	r := &Room{Version: v, ID: "!room:x", Events: map[string]*auth.View{}, Sources: map[string]*pdu.Builder{}, t: t}
	if v.HashRoomIDs {
		r.ID = id.RoomOfCreate(r.EventID("create"))
	}
	return r
}

// hashLength is the length of a reference hash in an event id.
const hashLength = 43

// EventID is the id of the event with a name, which is up to 42 letters, digits
// and hyphens. It has the form that the room version gives ids.
func (r *Room) EventID(name string) string {
	if r.Version.GivenEventIDs() {
		return "$" + name + ":x"
	}
	return "$" + name + strings.Repeat("_", hashLength-1-len(name)) + "A"
}

// Views is that of stateres.Source.
func (r *Room) Views(ids []string) ([]*auth.View, error) {
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		out[i] = r.Events[id]
	}
	return out, nil
}

// Event is a state event to be added to a room.
type Event struct {
	Name           string // see EventID
	Type, StateKey string
	Sender         string
	Content        string // JSON; "" is {}
	Timestamp      int64  // origin_server_ts, and the depth
	// Prev is the one event before it, by its id. "" is that there are two, so
	// that no rule about the beginning of a room concerns the event.
	Prev string
}

// Add makes a state event, whose auth events are selected from a state. Content
// that is not JSON ends the test.
func (r *Room) Add(e Event, before stateres.StateMap) *auth.View {
	r.t.Helper()
	b := &pdu.Builder{
		EventID: r.EventID(e.Name), Type: e.Type, RoomID: r.ID, Sender: e.Sender, StateKey: &e.StateKey,
		OriginServerTS: e.Timestamp, Depth: e.Timestamp,
		PrevEvents: []string{r.EventID("one"), r.EventID("other")},
	}
	switch {
	case e.Type == "m.room.create":
		b.PrevEvents = nil
	case e.Prev != "":
		b.PrevEvents = []string{e.Prev}
	}
	if e.Content != "" {
		b.Content = json.RawMessage(e.Content)
	}
	view, err := auth.ViewOfBuilder(r.Version, b)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, k := range auth.Needed(r.Version, view) {
		if a := before[k]; a != "" {
			view.AuthEvents = append(view.AuthEvents, a)
		}
	}
	view.Generation = r.generation(view)
	b.AuthEvents = view.AuthEvents
	if r.Version.HashRoomIDs && e.Type == "m.room.create" {
		b.RoomID = ""
	}
	r.Events[view.ID], r.Sources[view.ID] = view, b
	r.Order = append(r.Order, view.ID)
	return view
}

// generation is what a store sets View.Generation to.
func (r *Room) generation(e *auth.View) int64 {
	highest := int64(0)
	for _, id := range e.AuthEvents {
		a := r.Events[id]
		if a == nil || a.Generation == 0 {
			return 0
		}
		highest = max(highest, a.Generation)
	}
	return highest + 1
}

// Allowed reports whether the authorisation rules allow an event in a state.
func (r *Room) Allowed(e *auth.View, s stateres.StateMap) bool {
	at := auth.StateMap{}
	for _, k := range auth.Reads(r.Version, e) {
		if id := s[k]; id != "" {
			at[k] = r.Events[id]
		}
	}
	return auth.Check(r.Version, e, at) == nil
}

// After is a state with a state event applied.
func After(s stateres.StateMap, e *auth.View) stateres.StateMap {
	s = maps.Clone(s)
	s[e.Key()] = e.ID
	return s
}

// Begin starts a public room that @alice:x created, in which @bob:x has power
// level 50, and others (localparts, of server x) join. It returns the state.
// The names of its events are create, alice, levels, rules and join-<localpart>.
func (r *Room) Begin(others ...string) stateres.StateMap {
	r.t.Helper()
	s := stateres.StateMap{}
	step := func(e Event) *auth.View {
		r.ts++
		e.Timestamp = r.ts
		view := r.Add(e, s)
		s = After(s, view)
		return view
	}
	create := step(Event{Name: "create", Type: "m.room.create", Sender: "@alice:x", Content: `{"creator":"@alice:x"}`})
	step(Event{Name: "alice", Type: "m.room.member", StateKey: "@alice:x", Sender: "@alice:x", Content: `{"membership":"join"}`, Prev: create.ID})
	step(Event{Name: "levels", Type: "m.room.power_levels", Sender: "@alice:x", Content: r.Levels(`"@bob:x":50`, "")})
	step(Event{Name: "rules", Type: "m.room.join_rules", Sender: "@alice:x", Content: `{"join_rule":"public"}`})
	for _, name := range others {
		user := "@" + name + ":x"
		step(Event{Name: "join-" + name, Type: "m.room.member", StateKey: user, Sender: user, Content: `{"membership":"join"}`})
	}
	return s
}

// Levels is the content of m.room.power_levels that gives @alice:x 100, where
// the room version does not place her above all levels, and users theirs
// (`"@bob:x":50,…`, may be empty). more is further fields (`"ban":60,…`).
func (r *Room) Levels(users, more string) string {
	if !r.Version.Creators {
		users = strings.TrimSuffix(`"@alice:x":100,`+users, ",")
	}
	if more != "" {
		more = "," + more
	}
	return `{"users":{` + users + `}` + more + `}`
}

// Conflict compares states as a store does that keeps them in a form that can be
// compared, though itself reads them whole. Its Younger is exact: it finds the
// agreed events added after the first of those that it is asked about.
func (r *Room) Conflict(states ...stateres.StateMap) stateres.Conflict {
	conflicted := map[auth.Key]bool{}
	agreed := stateres.StateMap{}
	for _, s := range states {
		for k, id := range s {
			if was, ok := agreed[k]; ok && was != id {
				conflicted[k] = true
			}
			agreed[k] = id
		}
	}
	for k := range agreed {
		for _, s := range states {
			if _, ok := s[k]; !ok && r.Version.StateRes != roomversion.StateResV1 {
				conflicted[k] = true
			}
		}
	}
	for k := range conflicted {
		delete(agreed, k)
	}
	c := stateres.Conflict{
		Unconflicted: func(keys []auth.Key) ([]string, error) {
			ids := make([]string, len(keys))
			for i, k := range keys {
				ids[i] = agreed[k]
			}
			return ids, nil
		},
		Younger: func(ids []string) ([]string, error) {
			return r.younger(agreed, ids), nil
		},
	}
	for _, s := range states {
		set := stateres.StateMap{}
		for k := range conflicted {
			if id, ok := s[k]; ok {
				set[k] = id
			}
		}
		c.Sets = append(c.Sets, set)
	}
	return c
}

// younger looks from the end of Order, so that it costs what is younger and not
// what there is.
func (r *Room) younger(agreed stateres.StateMap, ids []string) []string {
	sought := make(map[string]bool, len(ids))
	for _, id := range ids {
		sought[id] = true
	}
	var out []string
	for i := len(r.Order) - 1; i >= 0 && len(sought) > 0; i-- {
		id := r.Order[i]
		delete(sought, id)
		if e := r.Events[id]; e != nil && agreed[e.Key()] == id {
			out = append(out, id)
		}
	}
	return out
}
