package rooms_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// many are more events than go in one transaction.
func many() (state []rooms.StateEvent) {
	for i := range 12 {
		state = append(state, rooms.StateEvent{Type: "m.space.child", StateKey: fmt.Sprint(i), Content: json.RawMessage(`{}`)})
	}
	return state
}

// What the store answers when it is busy is tried again: nothing was written.
func TestCreateOutlastsABusyStore(t *testing.T) {
	opt := local.NewMemory().Options()
	var calls atomic.Int64
	opt.Fault = func(c local.Call) local.Fault {
		if c.Op == local.OpTransact {
			return []local.Fault{local.Conflict, local.Throttle, local.NoFault}[calls.Add(1)%3]
		}
		return local.NoFault
	}
	s := open(t, opt)
	alice := s.register("alice")
	for _, version := range rooms.CreatableVersions() {
		room := s.create(rooms.Creation{Creator: alice, Version: version, InitialState: many()})
		s.say(room, alice, "hello")
	}
}

// later is a clock that the sweeper of creations reads.
type later struct{ time.Duration }

func (l later) Now() time.Time                         { return time.Now().UTC().Add(l.Duration) }
func (l later) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A creation that cannot be ended now must not keep the others from being ended.
func TestAbandonedCreationsEndOneByOne(t *testing.T) {
	disk := local.NewMemory()
	s := open(t, disk.Options())
	alice := s.register("alice")
	for range 3 {
		_ = s.store.Close()
		opt := disk.Options()
		opt.Fault = local.KillAt(2, local.KillBefore, func(c local.Call) bool { return c.Op == local.OpTransact })
		s = open(t, opt)
		if _, err := s.rooms.Create(s.ctx, rooms.Creation{Creator: alice, InitialState: many()}); err == nil {
			t.Fatal("created by a process that was killed")
		}
		disk = disk.Crash()
	}
	var stuck string
	opt := disk.Options()
	opt.Fault = func(c local.Call) local.Fault {
		if c.Writes && slices.ContainsFunc(c.Refs, func(r store.Ref) bool { return r.Key.Part == timeline.RoomPart(stuck) }) {
			return local.Throttle
		}
		return local.NoFault
	}
	s = open(t, opt)
	creations := func() (left []string) {
		page, err := s.store.DB().Query(s.ctx, store.Query{Table: store.Server, Part: "CREATING"})
		s.ok(err)
		for _, it := range page.Items {
			left = append(left, it.Key.Sort)
		}
		return left
	}
	all := creations()
	if len(all) != 3 {
		t.Fatalf("creations: %v", all)
	}
	stuck = all[0]
	s.rooms.Clock = later{2 * time.Hour}
	if err := s.rooms.EndAbandonedCreations(s.ctx); err == nil {
		t.Error("a creation that could not be ended is no error")
	}
	if left := creations(); len(left) != 1 || left[0] != stuck {
		t.Errorf("left are %v, want only %s", left, stuck)
	}
}

// Each change of HEAD is delivered, so a pass up to the HEAD of its time is
// enough. To go on until nothing is left would never end in a busy room, and all
// other rooms would wait.
func TestFanOutOfABusyRoomEnds(t *testing.T) {
	opt := local.NewMemory().Options()
	var s *server
	var room, alice string
	var running, sending atomic.Bool
	var sent int
	opt.Fault = func(c local.Call) local.Fault {
		if running.Load() && c.Writes && strings.HasPrefix(c.Refs[0].Key.Part, "FAN#") && sent < 20 && sending.CompareAndSwap(false, true) {
			sent++
			s.say(room, alice, "one more")
			sending.Store(false)
		}
		return local.NoFault
	}
	s = open(t, opt)
	alice = s.register("alice")
	room = s.create(rooms.Creation{Creator: alice})
	running.Store(true)
	s.ok(s.rooms.Dispatch(s.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}))
	if sent > 1 {
		t.Errorf("fan-out went on for %d messages", sent)
	}
}

// Writers in many processes, which know nothing of each other, all get through,
// also where the store is far away.
func TestWritersOfManyProcessesGetThrough(t *testing.T) {
	opt := local.NewMemory().Options()
	opt.Fault = func(c local.Call) local.Fault {
		if c.Op == local.OpTransact {
			time.Sleep(5 * time.Millisecond)
		}
		return local.NoFault
	}
	s := open(t, opt)
	alice := s.register("alice")
	room := s.create(rooms.Creation{Creator: alice})
	const writers = 30
	errs := make(chan error, writers)
	for w := range writers {
		other := rooms.New(s.rooms.Options)
		go func() {
			_, err := other.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: text(fmt.Sprint(w))})
			errs <- err
		}()
	}
	failed := 0
	for range writers {
		if err := <-errs; err != nil {
			failed++
			t.Log(err)
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d messages failed", failed, writers)
	}
}

// A request that is repeated, and that would be refused by now, was done the first
// time. Where the store is too busy to tell, it is not refused either: the client
// would believe that nothing was sent.
func TestARepeatedRequestIsNotRefusedByABusyStore(t *testing.T) {
	opt := local.NewMemory().Options()
	var busy atomic.Bool
	opt.Fault = func(c local.Call) local.Fault {
		if busy.Load() && c.Op == local.OpGet && strings.HasPrefix(c.Refs[0].Key.Part, "TXN#") {
			return local.Throttle
		}
		return local.NoFault
	}
	s := open(t, opt)
	alice := s.register("alice")
	room := s.create(rooms.Creation{Creator: alice})
	parent := s.say(room, alice, "hello")
	content, err := json.Marshal(map[string]any{"m.relates_to": map[string]string{"rel_type": "m.annotation", "event_id": parent.ID, "key": "+1"}})
	s.ok(err)
	react := func() (rooms.Sent, error) {
		return s.rooms.Send(s.ctx, room, rooms.Draft{
			Type: "m.reaction", Sender: alice, Content: content, Txn: rooms.Txn{Device: "D", Endpoint: "send", ID: "1"},
		})
	}
	first, err := react()
	s.ok(err)
	busy.Store(true)
	if _, err := react(); err == nil || mxerr.As(err) != nil {
		t.Errorf("repeated while the store was busy: %v", err)
	}
	busy.Store(false)
	if again, err := react(); err != nil || again.ID != first.ID {
		t.Errorf("repeated: %s, %v instead of %s", again.ID, err, first.ID)
	}
}
