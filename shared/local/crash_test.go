package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// TestKillAtEveryCall runs a script of writes, sends and puts, kills it at its
// first call, at its second and so on, before and after, and starts again over
// what was synced: what was acknowledged is there, what was killed before is
// not, and what was killed after is.
func TestKillAtEveryCall(t *testing.T) {
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := int64(1); ; n++ {
			disk := local.NewMemory()
			opt := disk.Options()
			opt.Fault = local.KillAt(n, fault, nil)
			l := open(t, opt)
			done, err := script(all(t.Context()), l)
			if err != nil && !errors.Is(err, local.ErrKilled) {
				t.Fatalf("kill %d: %v", n, err)
			}
			if err != nil {
				if _, err := l.DB().Get(all(t.Context()), ref("a"), store.Consistent); !errors.Is(err, local.ErrKilled) {
					t.Errorf("a call after the kill: %v", err)
				}
			}
			after := disk.Crash()
			l.Close()
			l = open(t, after.Options())
			want := done
			if err != nil && fault == local.KillAfter {
				want++
			}
			if got := progress(t, l); got != want {
				t.Errorf("fault %d at call %d: %d steps are there, want %d", fault, n, got, want)
			}
			l.Close()
			if err == nil {
				if done != 9 {
					t.Errorf("the script made %d steps", done)
				}
				break
			}
		}
	}
}

func ref(sort string) store.Ref {
	return store.Ref{Table: store.Rooms, Key: store.Key{Part: "p", Sort: sort}}
}

// script makes nine steps and returns how many were acknowledged.
func script(ctx context.Context, l *local.Local) (done int, err error) {
	write := func(w store.Write) func() error {
		return func() error { _, err := l.DB().Write(ctx, w); return err }
	}
	put := func(key, content string) func() error {
		return func() error {
			return l.Blobs().Put(ctx, key, "text/plain", strings.NewReader(content), int64(len(content)))
		}
	}
	for _, step := range []func() error{
		write(store.Put(store.Rooms, ref("a").Key, store.Attrs{"v": int64(1)})),
		write(store.Update(store.Rooms, ref("a").Key).Add("v", 1)),
		func() error {
			return l.DB().Transact(ctx,
				store.Update(store.Rooms, ref("a").Key).Add("v", 1),
				store.Put(store.Rooms, ref("b").Key, nil),
				store.Put(store.Rooms, ref("c").Key, nil))
		},
		func() error { return l.Queues().Send(ctx, queue.Work, queue.Message{Body: "x"}) },
		put("x", "old"),
		put("x", "new and longer"),
		put("y", "y"),
		func() error { return l.Blobs().Delete(ctx, "x") },
		write(store.Delete(store.Rooms, ref("c").Key)),
	} {
		if err := step(); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// progress finds out how many steps of the script are there, and that those
// before are.
func progress(t *testing.T, l *local.Local) int {
	t.Helper()
	ctx := all(t.Context())
	get := func(sort string) store.Item {
		it, err := l.DB().Get(ctx, ref(sort), store.Consistent)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return it
	}
	object := func(key string) string {
		r, _, err := l.Blobs().Get(ctx, key)
		if errors.Is(err, blob.ErrNotFound) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	v, b, c, x, y := get("a").Int("v"), get("b").Exists(), get("c").Exists(), object("x"), object("y")
	sent := len(received(t, l, queue.Work)) > 0
	steps := []bool{
		v >= 1, v >= 2, v == 3 && b, sent, x != "" || y != "", x == "new and longer" || y != "", y == "y",
		y != "" && x == "", b && !c,
	}
	n := 0
	for n < len(steps) && steps[n] {
		n++
	}
	for i, there := range steps[n:] {
		if there {
			t.Errorf("step %d is there, step %d is not", n+i+1, n+1)
		}
	}
	return n
}

// received consumes what a queue holds.
func received(t *testing.T, l *local.Local, q *queue.Queue) (bodies []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	go func() {
		defer close(done)
		close(started)
		l.Consume(ctx, q, func(_ context.Context, ms []queue.Message) error {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range ms {
				bodies = append(bodies, m.Body)
			}
			return nil
		})
	}()
	<-started
	time.Sleep(5 * time.Millisecond)
	if err := l.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	return bodies
}

// TestCrashUnderLoad crashes the machine while writers, senders and followers
// are at work: whatever was acknowledged before is there afterwards, and every
// write that is there has been or will be followed.
func TestCrashUnderLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		disk := local.NewMemory()
		l := open(t, disk.Options())
		ctx, stop := context.WithCancel(all(t.Context()))
		var acked [4]atomic.Int64
		var followed sync.Map
		follow := func(ctx context.Context, cs []store.Change) error {
			for _, c := range cs {
				followed.Store(c.Key.Sort, true)
			}
			return nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { l.Follow(ctx, store.Rooms.Changes(), "f", follow) })
		for w := range acked {
			wg.Go(func() {
				for i := int64(1); ctx.Err() == nil; i++ {
					err := l.DB().Transact(ctx,
						store.Update(store.Rooms, store.Key{Part: "p", Sort: fmt.Sprint("head ", w)}).Set("n", i),
						store.Put(store.Rooms, store.Key{Part: "p", Sort: fmt.Sprint("entry ", w, " ", i)}, nil))
					if err == nil {
						acked[w].Store(i)
					}
				}
			})
		}
		time.Sleep(time.Duration(10+10*round) * time.Millisecond)
		var before [4]int64
		for w := range acked {
			before[w] = acked[w].Load()
		}
		crashed := disk.CrashKeeping(r.IntN(100), r)
		stop()
		wg.Wait()
		l.Close()

		l = open(t, crashed.Options())
		ctx = all(t.Context())
		var again sync.WaitGroup
		following, done := context.WithCancel(ctx)
		again.Go(func() { l.Follow(following, store.Rooms.Changes(), "f", follow) })
		// Settled does not know of a follower that has not begun, so what was
		// acknowledged is waited for.
		deadline := time.Now().Add(30 * time.Second)
		delivered := func(sort string) bool {
			for {
				if _, ok := followed.Load(sort); ok {
					return true
				}
				if time.Now().After(deadline) {
					return false
				}
				time.Sleep(time.Millisecond)
			}
		}
		for w := range before {
			it, err := l.DB().Get(ctx, store.Ref{Table: store.Rooms, Key: store.Key{Part: "p", Sort: fmt.Sprint("head ", w)}}, store.Consistent)
			if before[w] > 0 && err != nil || it.Int("n") < before[w] {
				t.Errorf("round %d: the head is %v, %v; %d were acknowledged", round, it.Int("n"), err, before[w])
			}
			for i := int64(1); i <= it.Int("n"); i++ {
				sort := fmt.Sprint("entry ", w, " ", i)
				if _, err := l.DB().Get(ctx, store.Ref{Table: store.Rooms, Key: store.Key{Part: "p", Sort: sort}}, store.Consistent); err != nil {
					t.Fatalf("round %d: %s of %d: %v", round, sort, it.Int("n"), err)
				}
				if !delivered(sort) {
					t.Fatalf("round %d: %s was not followed", round, sort)
				}
			}
		}
		done()
		again.Wait()
		l.Close()
	}
}

// TestKilledFollowerSeesChangesAgain kills between handling and the cursor.
func TestKilledFollowerSeesChangesAgain(t *testing.T) {
	for _, op := range []local.Op{local.OpCursor, local.OpAck} {
		disk := local.NewMemory()
		opt := disk.Options()
		opt.Fault = local.KillAt(1, local.KillBefore, func(c local.Call) bool { return c.Op == op })
		l := open(t, opt)
		ctx := all(t.Context())
		if _, err := l.DB().Write(ctx, store.Put(store.Rooms, ref("a").Key, nil)); err != nil {
			t.Fatal(err)
		}
		if err := l.Queues().Send(ctx, queue.Work, queue.Message{Body: "x"}); err != nil {
			t.Fatal(err)
		}
		seen := 0
		handleChanges := func(context.Context, []store.Change) error { seen++; return nil }
		handleMessages := func(_ context.Context, ms []queue.Message) error {
			if seen++; ms[0].Attempt != seen {
				t.Errorf("attempt %d at delivery %d", ms[0].Attempt, seen)
			}
			return nil
		}
		run := func(ctx context.Context) error {
			if op == local.OpCursor {
				return l.Follow(ctx, store.Rooms.Changes(), "f", handleChanges)
			}
			return l.Consume(ctx, queue.Work, handleMessages)
		}
		if err := run(ctx); !errors.Is(err, local.ErrKilled) || seen != 1 {
			t.Errorf("%s: %v after %d deliveries", op, err, seen)
		}
		// A crash of the process, not of the machine: what was written is there.
		after := disk.CrashKeeping(100, rand.New(rand.NewPCG(1, 2)))
		l.Close()
		l = open(t, after.Options())
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if run(short); seen != 2 {
			t.Errorf("%s: %d deliveries after the restart", op, seen)
		}
		l.Close()
	}
}

func TestThrottleAndConflict(t *testing.T) {
	var fault local.Fault
	l := open(t, local.Options{Dir: "/x", FS: local.NewMemory().Options().FS, Fault: func(c local.Call) local.Fault { return fault }})
	ctx := all(t.Context())
	w := store.Put(store.Rooms, ref("a").Key, nil)
	for f, want := range map[local.Fault]error{local.Throttle: store.ErrThrottled, local.Conflict: store.ErrConflict} {
		fault = f
		if _, err := l.DB().Write(ctx, w); !errors.Is(err, want) {
			t.Errorf("write: %v", err)
		}
		if err := l.DB().Transact(ctx, w); !errors.Is(err, want) {
			t.Errorf("transact: %v", err)
		}
		fault = local.NoFault
		if _, err := l.DB().Get(ctx, ref("a"), store.Consistent); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a faulty write was made: %v", err)
		}
	}
}

// TestOrphansAreRemoved kills a put between its file and its row, again and
// again: a restart leaves no file that is no object.
func TestOrphansAreRemoved(t *testing.T) {
	disk := local.NewMemory()
	l := open(t, disk.Options())
	ctx := all(t.Context())
	r, w := io.Pipe()
	put := make(chan error)
	go func() { put <- l.Blobs().Put(ctx, "half", "text/plain", r, -1) }()
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := l.Blobs().Put(ctx, "whole", "text/plain", strings.NewReader("whole"), 5); err != nil {
		t.Fatal(err)
	}
	after := disk.CrashKeeping(100, rand.New(rand.NewPCG(1, 2)))
	if files(t, after) != 2 {
		t.Errorf("%d files before the restart", files(t, after))
	}
	l.Kill()
	w.Close()
	if err := <-put; !errors.Is(err, local.ErrKilled) {
		t.Errorf("put: %v", err)
	}
	l.Close()
	l = open(t, after.Options())
	if files(t, after) != 1 {
		t.Errorf("%d files after the restart", files(t, after))
	}
	if m, err := l.Blobs().Stat(ctx, "whole"); err != nil || m.Size != 5 {
		t.Errorf("the object: %v, %v", m, err)
	}
}

// files counts the files of objects.
func files(t *testing.T, m *local.Memory) (n int) {
	t.Helper()
	opt := m.Options()
	folders, err := opt.FS.List(opt.Dir + "/media")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		list, err := opt.FS.List(opt.Dir + "/media/" + f)
		if err != nil {
			t.Fatal(err)
		}
		n += len(list)
	}
	return n
}
