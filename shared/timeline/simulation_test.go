package timeline_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/timeline"
)

// client is what a client of /sync makes of its answers.
type client struct {
	s     *server
	user  string
	after bool // uses state_after
	lazy  bool // loads members lazily
	limit int
	since string
	rooms map[string]*clientRoom
}

type clientRoom struct {
	membership string
	state      map[string]string
	timeline   []string // ids, since the last gap
	prevBatch  string
}

// sync does what a client does with an answer.
func (c *client) sync() {
	t := c.s.t
	t.Helper()
	resp := c.s.syncs(c.user, timeline.SyncRequest{
		Since: c.since, Filter: fmt.Sprintf(`{"room":{"timeline":{"limit":%d},"state":{"lazy_load_members":%t}}}`, c.limit, c.lazy), StateAfter: c.after,
	})
	initial := c.since == ""
	c.since = resp.NextBatch
	for room, r := range resp.Rooms.Join {
		c.apply(room, "join", r, initial)
	}
	for room, r := range resp.Rooms.Leave {
		c.apply(room, "leave", r, initial)
	}
	for room := range resp.Rooms.Invite {
		c.room(room).membership = "invite"
	}
}

func (c *client) room(room string) *clientRoom {
	if c.rooms[room] == nil {
		c.rooms[room] = &clientRoom{state: map[string]string{}}
	}
	return c.rooms[room]
}

func (c *client) apply(room, membership string, r *timeline.SyncRoom, initial bool) {
	t := c.s.t
	t.Helper()
	m := c.room(room)
	if r.Timeline.Limited || m.membership != "join" {
		m.timeline, m.prevBatch = nil, r.Timeline.PrevBatch
	}
	m.membership = membership
	state := r.State
	if c.after {
		state = r.StateAfter
	}
	if state == nil {
		t.Fatalf("%s has no state section", room)
	}
	for _, e := range c.s.events(state.Events) {
		m.state[e.Type+"|"+*e.StateKey] = e.ID
	}
	for _, e := range c.s.events(r.Timeline.Events) {
		if slices.Contains(m.timeline, e.ID) {
			t.Fatalf("%s is told twice in %s", e.short(), room)
		}
		m.timeline = append(m.timeline, e.ID)
		if m.state["m.room.member|"+e.Sender] == "" && e.Type != "m.room.create" && e.Type != "m.room.member" {
			t.Fatalf("the client cannot show who sent %s", e.short())
		}
		if e.StateKey != nil && !c.after {
			m.state[e.Type+"|"+*e.StateKey] = e.ID
		}
	}
	if len(r.Timeline.Events) > c.limit+1 {
		t.Fatalf("%d events in a timeline of %d", len(r.Timeline.Events), c.limit)
	}
}

// check holds what the client knows against the room.
func (c *client) check(room string) {
	t := c.s.t
	t.Helper()
	cursor, err := c.s.log.Cursor(c.s.ctx, c.user, room)
	c.s.ok(err)
	m := c.rooms[room]
	switch cursor.Membership {
	case "join":
		if m == nil || m.membership != "join" {
			t.Fatalf("%s is in the room and the client does not know", c.user)
		}
		want := c.s.head(room)
		if c.lazy {
			// It may not know all members, but those that it knows are as they are.
			maps.DeleteFunc(want, func(key, _ string) bool {
				return strings.HasPrefix(key, "m.room.member|") && key != "m.room.member|"+c.user && m.state[key] == ""
			})
		}
		if !maps.Equal(m.state, want) {
			for k := range want {
				if m.state[k] != want[k] {
					t.Errorf("%s: the client has %q, the room %q", k, m.state[k], want[k])
				}
			}
			t.Fatalf("the state of %s is wrong (state_after %t, lazy %t)", c.user, c.after, c.lazy)
		}
		// The timeline is the end of the history, and /messages continues it.
		var all []string
		for _, e := range c.s.events(c.s.all(c.user, room, 7)) {
			all = append(all, e.ID)
		}
		if n := len(all) - len(m.timeline); n < 0 || !slices.Equal(all[n:], m.timeline) {
			t.Fatalf("the timeline of %s is not the end of the room", c.user)
		} else if before := c.before(room, m.prevBatch); !slices.Equal(all[:n], before) {
			t.Fatalf("/messages before the timeline of %s has %d events, and %d are missing", c.user, len(before), n)
		}
	case "leave", "ban":
		if m != nil && m.membership == "join" {
			t.Fatalf("%s is out of the room and the client does not know", c.user)
		}
	case "invite":
		if m == nil || m.membership != "invite" {
			t.Fatalf("%s is invited and the client does not know", c.user)
		}
	}
}

// before pages back from a token to the beginning.
func (c *client) before(room, from string) []string {
	c.s.t.Helper()
	var ids []string
	for from != "" {
		resp, err := c.s.timeline.Messages(c.s.ctx, viewer(c.user), timeline.MessagesRequest{
			Room: room, Backwards: true, From: from, Limit: 5, Filter: new(timeline.RoomEventFilter),
		})
		c.s.ok(err)
		for _, e := range c.s.events(resp.Chunk) {
			ids = append(ids, e.ID)
		}
		from = resp.End
	}
	slices.Reverse(ids)
	return ids
}

// TestClientsKnowWhatTheRoomKnows lets people do things at random while clients
// sync at random, and compares what they made of it with the room.
func TestClientsKnowWhatTheRoomKnows(t *testing.T) {
	seeds := 25
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, uint64(seed)) })
	}
}

func simulate(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := open(t)
	room := s.create(visibility([]string{"shared", "joined", "invited", "world_readable"}[r.IntN(4)]))
	var clients []*client
	for _, user := range []string{alice, bob, carol} {
		for i := range 4 {
			clients = append(clients, &client{s: s, user: user, after: i&1 != 0, lazy: i&2 != 0, limit: 1 + r.IntN(6), rooms: map[string]*clientRoom{}})
		}
	}
	try := func(err error) {
		if err != nil && mxerr.As(err) == nil {
			t.Fatal(err)
		}
	}
	for i := range 120 {
		user, other := []string{alice, bob, carol}[r.IntN(3)], []string{bob, carol}[r.IntN(2)]
		switch r.IntN(14) {
		case 0, 1:
			if user != alice {
				try(s.rooms.Join(s.ctx, user, room, ""))
			}
		case 2:
			if user != alice {
				try(s.rooms.Leave(s.ctx, user, room, ""))
			}
		case 3:
			try(s.rooms.Kick(s.ctx, room, rooms.Membership{Sender: alice, Target: other}))
		case 4:
			try(s.rooms.Invite(s.ctx, room, rooms.Membership{Sender: alice, Target: other}))
		case 5:
			try(s.rooms.Ban(s.ctx, room, rooms.Membership{Sender: alice, Target: other}))
		case 6, 7:
			try(s.rooms.Unban(s.ctx, room, rooms.Membership{Sender: alice, Target: other}))
		case 8:
			key := ""
			_, err := s.rooms.SetState(s.ctx, room, rooms.Draft{Type: "m.room.topic", StateKey: &key, Sender: alice, Content: []byte(fmt.Sprintf(`{"topic":"%d"}`, i))})
			try(err)
		case 9:
			_, err := s.rooms.SetState(s.ctx, room, rooms.Draft{Type: "m.room.member", StateKey: &user, Sender: user, Content: []byte(fmt.Sprintf(`{"membership":"join","displayname":"%d"}`, i))})
			try(err)
		default:
			_, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: user, Content: []byte(fmt.Sprintf(`{"body":"%d"}`, i))})
			try(err)
		}
		// Fan-out lags, and a sync may come at any time.
		if r.IntN(2) == 0 {
			s.deliver(room)
		}
		if c := clients[r.IntN(len(clients))]; r.IntN(2) == 0 {
			c.sync()
		}
	}
	s.deliver(room)
	for _, c := range clients {
		c.sync()
		c.check(room)
	}
}
