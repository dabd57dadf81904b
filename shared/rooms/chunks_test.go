package rooms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// library is a server with a room whose chunks are swept.
type library struct {
	*server
	t     *testing.T
	alice string
	room  string
	// lost is a draft whose event is the same whenever it is made, as long as
	// nothing else happens in the room. Its first writer lost.
	lost rooms.Draft
}

// trouble is the weather of a library.
type trouble struct {
	lose atomic.Bool // transactions that make state find the room too busy

	mu     sync.Mutex
	left   int64
	do     func()
	cancel context.CancelFunc
}

// before lets do happen before the nth call from now on.
func (x *trouble) before(n int64, do func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left, x.do = n, do
}

func (x *trouble) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	waited := x.do != nil
	x.do = nil
	return waited
}

func (x *trouble) fault(c local.Call) local.Fault {
	if c.Op == local.OpTransact && x.lose.Load() {
		x.cancel()
		return local.Conflict
	}
	x.mu.Lock()
	do := x.do
	if x.left--; x.left != 0 || do == nil {
		x.mu.Unlock()
		return local.NoFault
	}
	x.do = nil
	x.mu.Unlock()
	do()
	return local.NoFault
}

// openLibrary makes a room of many members with some history, and the chunks of
// a state event that never happened, a week ago.
func openLibrary(t *testing.T, disk *local.Memory, x *trouble) *library {
	t.Helper()
	opt := disk.Options()
	opt.Fault = x.fault
	l := &library{server: open(t, opt), t: t}
	l.alice = l.register("alice")
	l.room = l.create(rooms.Creation{Creator: l.alice, Preset: "public_chat"})
	for i := range 25 {
		user := l.register(fmt.Sprint("user", i))
		l.ok(l.rooms.Join(l.ctx, user, l.room, ""))
		if i%5 == 0 {
			l.ok(l.rooms.Leave(l.ctx, user, l.room, ""))
		}
	}
	for i := range 5 {
		l.say(l.room, l.alice, fmt.Sprint("hello ", i))
	}
	l.lose(x)
	l.rooms.Clock = later{8 * 24 * time.Hour}
	return l
}

func (l *library) lose(x *trouble) {
	l.t.Helper()
	none := ""
	l.lost = rooms.Draft{
		Type: "m.room.topic", StateKey: &none, Sender: l.alice, Content: json.RawMessage(`{"topic":"chess"}`),
		OriginServerTS: clock.Millis(time.Now()),
	}
	var ctx context.Context
	ctx, x.cancel = context.WithCancel(l.ctx)
	x.lose.Store(true)
	if _, err := l.rooms.SetState(ctx, l.room, l.lost); err == nil {
		l.t.Fatal("the writer did not lose")
	}
	x.lose.Store(false)
}

// stored are the chunks of the room, by address.
func (l *library) stored() map[string]int64 {
	l.t.Helper()
	chunks := map[string]int64{}
	for _, part := range timeline.ChunkParts(l.room) {
		for it, err := range store.All(l.ctx, l.store.DB(), store.Query{Table: store.Rooms, Part: part, Consistency: store.Consistent}) {
			l.ok(err)
			chunks[it.Key.Sort] = it.Int("born")
		}
	}
	return chunks
}

// check reads each state that the room ever had, and returns how many chunks are
// stored that no state needs.
func (l *library) check() (garbage int) {
	l.t.Helper()
	left := l.stored()
	needed := map[trie.Hash]bool{}
	cold := timeline.New(timeline.Options{DB: l.store.DB(), Clock: clock.System{}, Log: l.log, Accounts: l.accounts, ServerName: "test"})
	head, err := cold.Head(l.ctx, l.room)
	l.ok(err)
	rows, err := cold.Range(l.ctx, l.room, 0, head.Pos, false, 0)
	l.ok(err)
	for _, r := range rows {
		entries := 0
		err := trie.Walk(l.ctx, cold.Loader(l.room), l.room, r.CurrentRoot(), trie.WalkAll, func(trie.Entry) bool { entries++; return true })
		if err != nil || entries == 0 {
			l.t.Fatalf("the state at %s: %d entries, %v", r.Pos, entries, err)
		}
		l.ok(trie.Reachable(l.ctx, cold.Loader(l.room), r.CurrentRoot(), func(h trie.Hash) bool { needed[h] = true; return true }))
	}
	for h := range needed {
		if _, ok := left[h.String()]; !ok {
			l.t.Fatalf("chunk %s is gone", h)
		}
		delete(left, h.String())
	}
	return len(left)
}

func TestGarbageOfStatesIsSwept(t *testing.T) {
	x := new(trouble)
	l := openLibrary(t, local.NewMemory(), x)
	garbage, all := l.check(), len(l.stored())
	if garbage == 0 {
		t.Fatal("the writer that lost left nothing")
	}
	l.rooms.Clock = later{6 * 24 * time.Hour}
	l.ok(l.rooms.SweepChunks(l.ctx))
	if n := len(l.stored()); n != all {
		t.Errorf("%d of %d chunks are left before a week was over", n, all)
	}
	l.rooms.Clock = later{8 * 24 * time.Hour}
	var m store.Meter
	l.ok(l.rooms.SweepChunks(store.WithMeter(l.ctx, &m)))
	if n := l.check(); n != 0 {
		t.Errorf("%d chunks that nobody needs are left", n)
	}
	t.Logf("%d of %d chunks were garbage: %s", garbage, all, m.Total())
	m = store.Meter{}
	l.lose(x)
	garbage = l.check()
	l.ok(l.rooms.SweepChunks(store.WithMeter(l.ctx, &m)))
	if n := l.check(); n != garbage || m.Total().Reads > 16 {
		t.Errorf("a room was swept twice in a week: %d chunks are left of %d, %s", n, garbage, m.Total())
	}
}

// A chunk may be that of a writer who is about to commit.
func TestYoungGarbageStays(t *testing.T) {
	x := new(trouble)
	l := openLibrary(t, local.NewMemory(), x)
	garbage := l.check()
	l.rooms.Clock = later{8*24*time.Hour - 23*time.Hour}
	l.lost.Content = json.RawMessage(`{"topic":"draughts"}`)
	l.lose(x)
	fresh := l.check() - garbage
	l.rooms.Clock = later{8 * 24 * time.Hour}
	l.ok(l.rooms.SweepChunks(l.ctx))
	if n := l.check(); fresh == 0 || n != fresh {
		t.Errorf("%d chunks are left, of %d young ones", n, fresh)
	}
	l.rooms.Clock = later{16 * 24 * time.Hour}
	l.ok(l.rooms.SweepChunks(l.ctx))
	if n := l.check(); n != 0 {
		t.Errorf("%d chunks are left a week later", n)
	}
}

// State that no position shows is kept as long as something has its root: the
// state before and after an event, and that of a change without an event.
func TestEveryRootIsKept(t *testing.T) {
	x := new(trouble)
	l := openLibrary(t, local.NewMemory(), x)
	db := l.store.DB()
	head, err := l.timeline.Head(l.ctx, l.room)
	l.ok(err)
	row, err := l.timeline.At(l.ctx, l.room, head.Pos)
	l.ok(err)
	var roots []trie.Root
	fork := func(name string) []byte {
		root, chunks, err := trie.Update(l.ctx, l.timeline.Loader(l.room), l.room, head.CurrentRoot(),
			[]trie.Entry{{Key: trie.Key{Type: "m.room.topic"}, EventID: "$" + name}})
		l.ok(err)
		for _, c := range chunks {
			_, err := db.Write(l.ctx, store.Put(store.Rooms, timeline.ChunkKey(l.room, c.Hash), store.Attrs{"b": c.Data, "born": int64(1)}))
			l.ok(err)
		}
		roots = append(roots, root)
		return root[:]
	}
	lost := fork("lost")
	for _, w := range []store.Write{
		store.Update(store.Events, timeline.IndexKey(row.ID)).Set("rb", fork("before")).Set("ra", fork("after")),
		store.Update(store.Rooms, timeline.HeadKey(l.room)).Set("rows", fork("rows")),
		store.Put(store.Rooms, timeline.EventKey(l.room, head.Pos+1), store.Encode(timeline.EventRow{Kind: timeline.KindState, Root: fork("change")})),
	} {
		_, err := db.Write(l.ctx, w)
		l.ok(err)
	}
	l.ok(l.rooms.SweepChunks(l.ctx))
	cold := timeline.New(timeline.Options{DB: db, Clock: clock.System{}, Log: l.log, Accounts: l.accounts, ServerName: "test"})
	for _, r := range roots {
		err := trie.Walk(l.ctx, cold.Loader(l.room), l.room, r, trie.WalkAll, func(trie.Entry) bool { return true })
		if gone := errors.Is(err, trie.ErrMissing); gone != (string(r[:]) == string(lost)) || err != nil && !gone {
			t.Errorf("the state %s: %v", r, err)
		}
	}
}

// A writer makes the very state whose chunks are garbage, before each of the
// calls of the sweep; and a sweep runs before each of the calls of the writer.
func TestAWriterNeedsWhatIsBeingSwept(t *testing.T) {
	write := func(l *library) {
		_, err := l.rooms.SetState(l.ctx, l.room, l.lost)
		l.ok(err)
	}
	sweep := func(l *library) { l.ok(l.rooms.SweepChunks(l.ctx)) }
	for name, way := range map[string][2]func(*library){
		"written while it is swept": {sweep, write},
		"swept while it is written": {write, sweep},
	} {
		t.Run(name, func(t *testing.T) {
			for at := int64(1); ; at++ {
				x := new(trouble)
				l := openLibrary(t, local.NewMemory(), x)
				before := l.check()
				x.before(at, func() { way[1](l) })
				way[0](l)
				over := x.over()
				if over {
					way[1](l)
				}
				if n := l.check(); n >= before {
					t.Errorf("%d chunks are garbage, and were %d before the event", n, before)
				}
				if t.Failed() {
					t.Fatalf("before call %d", at)
				}
				if over {
					t.Logf("before each of %d calls", at-1)
					return
				}
			}
		})
	}
}

// A sweep that dies at any of its writes has deleted nothing that is needed, and
// that of the next week does the rest.
func TestASweepOfChunksThatIsKilled(t *testing.T) {
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := int64(1); ; n++ {
			disk := local.NewMemory()
			l := openLibrary(t, disk, new(trouble))
			if l.check() == 0 {
				t.Fatal("there is no garbage")
			}
			room := l.room
			_ = l.store.Close()
			opt := disk.Options()
			opt.Fault = local.KillAt(n, fault, nil)
			s := open(t, opt)
			s.rooms.Clock = later{8 * 24 * time.Hour}
			err := s.rooms.SweepChunks(s.ctx)
			if err != nil && !errors.Is(err, local.ErrKilled) {
				t.Fatal(err)
			}
			_ = s.store.Close()
			l = &library{server: open(t, disk.Crash().Options()), t: t, room: room}
			left := l.check()
			l.rooms.Clock = later{16 * 24 * time.Hour}
			l.ok(l.rooms.SweepChunks(l.ctx))
			if again := l.check(); again != 0 {
				t.Errorf("kill %d at write %d: %d chunks are left, and %d after the next sweep", fault, n, left, again)
			}
			if err == nil {
				t.Logf("killed at %d places", n-1)
				break
			}
		}
	}
}
