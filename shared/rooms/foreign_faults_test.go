package rooms_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// feedAll sends a history in some order, until everything has turned out.
func (p *peer) feedAll() {
	p.t.Helper()
	order := slices.Clone(p.h.Order)
	p.r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, eventID := range slices.Concat(order, p.h.Order) {
		p.news(eventID)
	}
	p.backfill()
}

// A process that is killed between any two writes of receiving leaves a room that
// the next one goes on with.
func TestKillsWhileReceiving(t *testing.T) {
	every := 3
	if testing.Short() {
		every = 29
	}
	for _, version := range []string{"2", "12"} {
		h := roomstest.New(t, version, 7, "one", "two", "test")
		h.Grow(30)
		end := h.End()
		for kill := 1; ; kill += every {
			disk := local.NewMemory()
			opt := disk.Options()
			opt.Fault = local.KillAt(int64(kill), []local.Fault{local.KillBefore, local.KillAfter}[kill%2], func(c local.Call) bool { return c.Writes })
			alive := false
			t.Run(fmt.Sprintf("v%s/%d", version, kill), func(t *testing.T) {
				alive = survives(func() {
					p := feed(t, h, uint64(kill), opt)
					p.begin()
					p.feedAll()
				})
				p := feed(t, h, uint64(kill), disk.Crash().Options())
				p.begin()
				p.feedAll()
				p.check(end)
			})
			if alive || t.Failed() {
				t.Logf("v%s: %d places to be killed at", version, kill-1)
				break
			}
		}
	}
}

// survives reports whether the process got to the end of its work.
func survives(work func()) (alive bool) {
	defer func() {
		if r := recover(); r != nil && r != local.ErrKilled {
			panic(r)
		}
	}()
	work()
	return true
}

// Two processes that receive the same history at the same time make one room.
func TestProcessesThatReceiveTogetherMakeOneRoom(t *testing.T) {
	for seed := range uint64(4) {
		h := roomstest.New(t, "12", 100+seed, "one", "two", "test")
		h.Grow(40)
		end := h.End()
		p := feed(t, h, seed, local.NewMemory().Options())
		p.begin()
		var wg sync.WaitGroup
		for i := range uint64(3) {
			other := *p.server
			other.rooms = rooms.New(p.rooms.Options)
			q := &peer{server: &other, h: h, r: p.r, tells: p.tells}
			q.r = newRand(seed*10 + i)
			wg.Go(func() {
				order := slices.Clone(h.Order)
				q.r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
				for _, eventID := range order {
					q.news(eventID)
				}
			})
		}
		wg.Wait()
		p.feedAll()
		p.check(end)
	}
}

// crowd is a room with many members of several servers, and its last event.
func crowd(t *testing.T, version string, members int) (*roomstest.History, *roomstest.Node) {
	h := roomstest.New(t, version, 1, "one", "two", "test")
	last := h.Nodes[h.Order[len(h.Order)-1]]
	for i := range members {
		user := fmt.Sprintf("@u%d:%s", i, []string{"two", "test"}[i%2])
		last = h.Add([]string{last.Event().ID}, roomstest.Event{
			Sender: user, Type: "m.room.member", StateKey: &user, Content: map[string]any{"membership": "join", "displayname": user},
		})
	}
	return h, last
}

// join makes the room known by its last event, with the state before it.
func (p *peer) join(last *roomstest.Node) {
	p.t.Helper()
	in := p.incoming(last, &rooms.MissingError{Prev: last.Event().PrevEvents})
	var outliers []rooms.Incoming
	v, err := p.rooms.Begin(p.ctx, p.h.Room, outliers, in)
	p.ok(err)
	if v.Outcome != receipt.Accepted {
		p.t.Fatalf("the join: %v", v.Err)
	}
}

func (p *peer) dispatch() error {
	return p.rooms.Dispatch(p.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(p.h.Room)}})
}

// A change of state that no transaction can hold is worked in behind, whatever is
// killed meanwhile; until then readers see it all the same.
func TestLargeChangesReachTheRows(t *testing.T) {
	h, last := crowd(t, "12", 70)
	for kill := 1; ; kill++ {
		disk := local.NewMemory()
		p := feed(t, h, 1, disk.Options())
		p.join(last)
		head, err := p.timeline.Head(p.ctx, h.Room)
		p.ok(err)
		if head.RowsCurrent() {
			t.Fatal("the rows are there already")
		}
		members, err := p.timeline.Members(p.ctx, h.Room, head, "", "join")
		p.ok(err)
		if len(members) != 73 {
			t.Fatalf("%d members are joined", len(members))
		}
		p.ok(p.store.Close())
		opt := disk.Options()
		opt.Fault = local.KillAt(int64(kill), []local.Fault{local.KillBefore, local.KillAfter}[kill%2], func(c local.Call) bool { return c.Writes })
		p.server = open(t, opt)
		err = p.dispatch()
		if err != nil {
			p = feed(t, h, 1, disk.Crash().Options())
			p.ok(p.dispatch())
		}
		head, hErr := p.timeline.Head(p.ctx, h.Room)
		p.ok(hErr)
		if !head.RowsCurrent() {
			t.Fatalf("kill %d: the rows are still not there", kill)
		}
		p.began = true
		p.checkRows(head, last)
		for i := range 70 {
			user := fmt.Sprintf("@u%d:test", i)
			if i%2 == 0 {
				continue
			}
			c, cErr := p.log.Cursor(p.ctx, user, h.Room)
			p.ok(cErr)
			if c.Membership != "join" || len(c.Transitions) != 1 {
				t.Fatalf("kill %d: the cursor of %s says %v", kill, user, c)
			}
		}
		if err == nil || t.Failed() {
			t.Logf("%d places to be killed at", kill-1)
			return
		}
	}
}

// What it takes to receive an event does not depend on how many are in the room,
// when nothing is in conflict.
func TestTheWorkForAnEventDoesNotGrowWithTheRoom(t *testing.T) {
	type cost struct{ read, written float64 }
	costs := map[int][2]cost{}
	for _, members := range []int{10, 500} {
		h, last := crowd(t, "12", members)
		p := feed(t, h, 1, local.NewMemory().Options())
		p.join(last)
		p.ok(p.dispatch())
		var of [2]cost
		none := "@u0:two"
		for i, d := range []roomstest.Event{
			{Sender: none, Type: "m.room.message", Content: map[string]any{"body": "hello"}},
			{Sender: none, Type: "m.room.member", StateKey: &none, Content: map[string]any{"membership": "leave"}},
		} {
			last = h.Add([]string{last.Event().ID}, d)
			meter := new(store.Meter)
			v, err := p.rooms.Receive(store.WithMeter(p.ctx, meter), h.Room, rooms.Incoming{Received: last.Received})
			p.ok(err)
			if v.Outcome != receipt.Accepted {
				t.Fatal(v.Err)
			}
			of[i] = cost{meter.Total().Reads, meter.Total().Writes}
		}
		costs[members] = of
	}
	t.Logf("a message and a leave in rooms of 10 and 500: %v", costs)
	for i, few := range costs[10] {
		if many := costs[500][i]; many.read > few.read+4 || many.written > few.written+4 {
			t.Errorf("%d: %v in a small room, %v in a large one", i, few, many)
		}
	}
}

// When the state after an extremity turns out to be another, the current state
// changes at a position of its own, and those who lose the room by that are told.
func TestStateThatTurnsOutOtherwise(t *testing.T) {
	h := roomstest.New(t, "12", 1, "one", "two", "test")
	p := feed(t, h, 1, local.NewMemory().Options())
	p.begin()
	for _, eventID := range h.Order {
		p.news(eventID)
	}
	p.ok(p.dispatch())
	last := h.Nodes[h.Order[len(h.Order)-1]]
	before, err := p.timeline.Head(p.ctx, h.Room)
	p.ok(err)
	state := maps.Clone(last.After)
	delete(state, auth.Key{Type: "m.room.member", StateKey: "@a:test"})
	for range 2 { // it may be repeated
		p.ok(p.rooms.CorrectState(p.ctx, h.Room, map[string][]string{last.Event().ID: roomstest.State(state)}))
	}
	head, err := p.timeline.Head(p.ctx, h.Room)
	p.ok(err)
	if head.Pos != before.Pos+1 || !maps.Equal(p.state(head.CurrentRoot()), keys(state)) {
		t.Errorf("the room stands at %s after %s with %v", head.Pos, before.Pos, p.state(head.CurrentRoot()))
	}
	row, err := p.timeline.At(p.ctx, h.Room, head.Pos)
	p.ok(err)
	if row.Kind != timeline.KindState {
		t.Errorf("the position is %v", row)
	}
	p.ok(p.dispatch())
	if _, to := p.told("@a:test", h.Room); to != head.Pos {
		t.Errorf("who lost the room was told up to %s, not %s", to, head.Pos)
	}
	// The next event goes on from there.
	v, err := p.rooms.Receive(p.ctx, h.Room, rooms.Incoming{Received: h.Add([]string{last.Event().ID}, roomstest.Event{
		Sender: "@a:two", Type: "m.room.message", Content: map[string]any{"body": "hello"},
	}).Received})
	p.ok(err)
	if v.Outcome != receipt.Accepted {
		t.Error(v.Err)
	}
	head, err = p.timeline.Head(p.ctx, h.Room)
	p.ok(err)
	if !maps.Equal(p.state(head.CurrentRoot()), keys(state)) {
		t.Errorf("after the next event the state is %v", p.state(head.CurrentRoot()))
	}
}

// A room with more forks than an event can follow is pulled together again by a
// local user who may, with something that clients do not see.
func TestForksArePulledTogether(t *testing.T) {
	h := roomstest.New(t, "12", 1, "one", "two", "test")
	p := feed(t, h, 1, local.NewMemory().Options())
	p.begin()
	root := h.Order[len(h.Order)-1]
	for i := range 24 {
		h.Add([]string{root}, roomstest.Event{Sender: "@a:two", Type: "m.room.message", Content: map[string]any{"body": fmt.Sprint(i)}})
	}
	for _, eventID := range h.Order {
		p.news(eventID)
	}
	head, err := p.timeline.Head(p.ctx, h.Room)
	p.ok(err)
	if n := len(head.Extremities) + int(head.Spilled); n != 24 || len(store.Encode(head)) == 0 {
		t.Fatalf("%d extremities", n)
	}
	for range 3 {
		p.ok(p.dispatch())
	}
	head, err = p.timeline.Head(p.ctx, h.Room)
	p.ok(err)
	if n := len(head.Extremities) + int(head.Spilled); n > 10 {
		t.Errorf("%d extremities are left", n)
	}
	resp, err := p.timeline.Messages(p.ctx, timeline.Viewer{User: "@a:test"}, timeline.MessagesRequest{Room: h.Room, Backwards: true, Limit: 100, Filter: new(timeline.RoomEventFilter)})
	p.ok(err)
	for _, raw := range resp.Chunk {
		var e struct{ Type string }
		p.ok(json.Unmarshal(raw, &e))
		if e.Type == timeline.TypeDummy {
			t.Error("a client sees what only joins forks")
		}
	}
	_, err = p.rooms.Send(p.ctx, h.Room, rooms.Draft{Type: "m.room.message", Sender: "@a:test", Content: text("after the forks")})
	p.ok(err)
}

// What another server sends may relate to an event of another room. It is an event
// like others, and its relationship says nothing.
func TestEventsThatRelateToAnotherRoomAreReceived(t *testing.T) {
	h := roomstest.New(t, "12", 1, "one", "two", "test")
	p := feed(t, h, 1, local.NewMemory().Options())
	p.begin()
	for _, eventID := range h.Order {
		p.news(eventID)
	}
	alice := p.register("alice")
	elsewhere := p.say(p.create(rooms.Creation{Creator: alice}), alice, "elsewhere").ID
	last := h.Order[len(h.Order)-1]
	for _, rel := range []string{"m.thread", "m.replace", "m.reference", "m.annotation", "org.example.other"} {
		n := h.Add([]string{last}, roomstest.Event{Sender: "@a:two", Type: "m.room.message", Content: map[string]any{
			"body": rel, "m.new_content": map[string]any{"body": rel}, "m.relates_to": map[string]any{"rel_type": rel, "event_id": elsewhere},
		}})
		last = n.Event().ID
		v, err := p.rooms.Receive(p.ctx, h.Room, rooms.Incoming{Received: n.Received})
		p.ok(err)
		if v.Outcome != receipt.Accepted {
			t.Errorf("%s: %v", rel, v.Err)
		}
	}
	children, err := p.timeline.Children(p.ctx, h.Room, elsewhere, 10)
	p.ok(err)
	if len(children) > 0 {
		t.Errorf("%d events are listed as its children", len(children))
	}
}
