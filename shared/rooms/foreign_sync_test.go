package rooms_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/timeline"
)

// follower is a client that follows a room by /sync, with state_after or by the
// state and the timeline.
type follower struct {
	*peer
	after       bool
	user, since string
	joined      bool
	state       map[auth.Key]string
	seen        map[string]bool
}

// sync asks what is new and takes it.
func (f *follower) sync() {
	f.t.Helper()
	resp, _, err := f.timeline.Sync(f.ctx, timeline.Viewer{User: f.user, Device: "D"}, timeline.SyncRequest{Since: f.since, StateAfter: f.after})
	f.ok(err)
	f.since = resp.NextBatch
	var body bytes.Buffer
	f.ok(resp.WriteJSON(f.ctx, &body))
	f.ok(json.Unmarshal(body.Bytes(), resp))
	if resp.Rooms == nil {
		return
	}
	if resp.Rooms.Leave[f.h.Room] != nil || resp.Rooms.Invite[f.h.Room] != nil {
		f.joined = false
	}
	room := resp.Rooms.Join[f.h.Room]
	if room == nil {
		return
	}
	if !f.joined {
		f.joined, f.state = true, map[auth.Key]string{}
	}
	type event struct {
		ID       string  `json:"event_id"`
		Type     string  `json:"type"`
		StateKey *string `json:"state_key"`
	}
	apply := func(raw json.RawMessage) (e event) {
		f.ok(json.Unmarshal(raw, &e))
		if e.StateKey != nil {
			f.state[auth.Key{Type: e.Type, StateKey: *e.StateKey}] = e.ID
		}
		return e
	}
	state := room.StateAfter
	if !f.after {
		state = room.State
	}
	for _, raw := range state.Events {
		apply(raw)
	}
	for _, raw := range room.Timeline.Events {
		var e event
		if f.ok(json.Unmarshal(raw, &e)); !f.after {
			apply(raw)
		}
		if f.seen[e.ID] {
			f.t.Errorf("%s got %s twice", f.user, e.ID)
		}
		f.seen[e.ID] = true
	}
}

// A client that follows the room by what /sync says of its state has the state that
// the room has, whatever forks and late events did to it, in either way of telling
// it.
func TestClientsFollowRoomsWithForks(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for _, version := range []string{"2", "10", "12"} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("v%s/%d", version, seed), func(t *testing.T) {
				h := roomstest.New(t, version, 50+seed, "one", "two", "test")
				h.Grow(50)
				h.End()
				p := feed(t, h, seed, local.NewMemory().Options())
				p.begin()
				var clients []*follower
				for _, user := range []string{"@a:test", "@b:test", "@c:test"} {
					for _, after := range []bool{true, false} {
						f := &follower{peer: p, user: user, after: after, seen: map[string]bool{}}
						f.sync()
						clients = append(clients, f)
					}
				}
				order := slices.Clone(h.Order)
				p.r.Shuffle(len(order)-8, func(i, j int) { order[8+i], order[8+j] = order[8+j], order[8+i] })
				for _, eventID := range slices.Concat(order, h.Order) {
					p.news(eventID)
					p.ok(p.dispatch())
					f := clients[p.r.IntN(len(clients))]
					f.sync()
				}
				head, err := p.timeline.Head(p.ctx, h.Room)
				p.ok(err)
				now := map[auth.Key]string{}
				for k, eventID := range p.state(head.CurrentRoot()) {
					now[auth.Key(k)] = eventID
				}
				for _, f := range clients {
					f.sync()
					c, err := p.log.Cursor(p.ctx, f.user, h.Room)
					p.ok(err)
					if f.joined != (c.Membership == "join") {
						t.Errorf("%s believes to be joined: %v, and is %q", f.user, f.joined, c.Membership)
					}
					// That a piece of state is gone altogether, /sync has no way to tell.
					maps.DeleteFunc(f.state, func(k auth.Key, _ string) bool { return now[k] == "" })
					if f.joined && !maps.Equal(f.state, now) {
						t.Errorf("%s (after: %v) has the state %v, and it is %v", f.user, f.after, f.state, now)
					}
				}
			})
		}
	}
}
