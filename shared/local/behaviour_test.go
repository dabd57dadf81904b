package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

func TestGrantsAreEnforced(t *testing.T) {
	l := open(t, local.Options{})
	calls := map[string]func(ctx context.Context) error{
		"table:rooms:read": func(ctx context.Context) error {
			_, err := l.DB().Get(ctx, ref("a"), store.Consistent)
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			_, err2 := l.DB().BatchGet(ctx, []store.Ref{ref("a")}, store.Consistent)
			_, err3 := l.DB().Query(ctx, store.Query{Table: store.Rooms, Part: "p"})
			if (err == nil) != (err2 == nil) || (err == nil) != (err3 == nil) {
				t.Errorf("get %v, batch get %v, query %v", err, err2, err3)
			}
			return err
		},
		"table:rooms:write": func(ctx context.Context) error {
			_, err := l.DB().Write(ctx, store.Put(store.Rooms, ref("a").Key, nil))
			err2 := l.DB().Transact(ctx, store.Check(store.Rooms, ref("a").Key, nil))
			if (err == nil) != (err2 == nil) {
				t.Errorf("write %v, check %v", err, err2)
			}
			return err
		},
		"queue:work:send": func(ctx context.Context) error {
			return l.Queues().Send(ctx, queue.Work, queue.Message{Body: "x"})
		},
		"blob:media/:write": func(ctx context.Context) error {
			return l.Blobs().Put(ctx, "media/a", "", strings.NewReader(""), 0)
		},
		"blob:media/:read": func(ctx context.Context) error {
			_, err := l.Blobs().List(ctx, "media/", "", 1)
			return err
		},
	}
	grants := grant.Of(grant.ReadTable("rooms"), grant.WriteTable("rooms"), grant.SendTo("work"), grant.ReadBlobs("media/"), grant.WriteBlobs("media/"))
	for name, call := range calls {
		for _, g := range grants {
			err := call(grant.With(t.Context(), "test", grant.Set{g}, nil))
			var denied *grant.Denied
			if allowed := g.String() == name; allowed && err != nil || !allowed && !errors.As(err, &denied) {
				t.Errorf("%s with the grant %s: %v", name, g, err)
			}
		}
		var denied *grant.Denied
		if err := call(t.Context()); !errors.As(err, &denied) {
			t.Errorf("%s without grants: %v", name, err)
		}
	}
	// A transaction needs the grant of each table.
	ctx := grant.With(t.Context(), "test", grant.WriteTable("rooms"), nil)
	err := l.DB().Transact(ctx, store.Put(store.Rooms, ref("a").Key, nil), store.Put(store.Users, ref("a").Key, nil))
	var denied *grant.Denied
	if !errors.As(err, &denied) || denied.Grant.Name != "users" {
		t.Errorf("a transaction with one grant of two: %v", err)
	}
}

// countingFS counts syncs of the log.
type countingFS struct {
	vfs.FS
	syncs *atomic.Int64
}

type countingFile struct {
	vfs.File
	syncs *atomic.Int64
}

func (fs countingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return countingFile{f, fs.syncs}, nil
}

func (f countingFile) sync(do func() error) error {
	f.syncs.Add(1)
	time.Sleep(2 * time.Millisecond)
	return do()
}

func (f countingFile) Sync() error     { return f.sync(f.File.Sync) }
func (f countingFile) SyncData() error { return f.sync(f.File.SyncData) }

// TestWritersShareSyncs: a log whose sync takes 2 ms takes many more than 500
// writes a second, also of one item.
func TestWritersShareSyncs(t *testing.T) {
	for _, hot := range []bool{false, true} {
		var syncs atomic.Int64
		opt := local.NewMemory().Options()
		opt.FS = countingFS{opt.FS, &syncs}
		l := open(t, opt)
		ctx := all(t.Context())
		before := syncs.Load()
		const writers, each = 50, 10
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					k := store.Key{Part: "hot", Sort: "counter"}
					if !hot {
						k.Part = fmt.Sprint(w)
					}
					if _, err := l.DB().Write(ctx, store.Update(store.Rooms, k).Add("n", 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := syncs.Load() - before; n > writers*each/5 {
			t.Errorf("hot %v: %d writes made %d syncs", hot, writers*each, n)
		}
	}
}

// stuckFS lets the log sync only when told.
type stuckFS struct {
	vfs.FS
	gate *sync.RWMutex
}

type stuckFile struct {
	vfs.File
	gate *sync.RWMutex
}

func (fs stuckFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return stuckFile{f, fs.gate}, nil
}

func (f stuckFile) Sync() error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return f.File.Sync()
}

func (f stuckFile) SyncData() error { return f.Sync() }

// TestNobodySeesWhatIsNotDurable holds the sync of a write back: neither reads
// nor failed conditions nor followers tell of it before.
func TestNobodySeesWhatIsNotDurable(t *testing.T) {
	var gate sync.RWMutex
	opt := local.NewMemory().Options()
	opt.FS = stuckFS{opt.FS, &gate}
	l := open(t, opt)
	ctx := all(t.Context())
	put := store.Put(store.Rooms, ref("a").Key, nil)
	gate.Lock()
	var wg sync.WaitGroup
	var told atomic.Int64
	wg.Go(func() { l.DB().Write(ctx, put); told.Add(1) })
	following, stop := context.WithCancel(ctx)
	wg.Go(func() {
		l.Follow(following, store.Rooms.Changes(), "f", func(context.Context, []store.Change) error {
			told.Add(1)
			stop()
			return nil
		})
	})
	time.Sleep(20 * time.Millisecond)
	for _, see := range []func() bool{
		func() bool { it, _ := l.DB().Get(ctx, ref("a"), store.Consistent); return it.Exists() },
		func() bool { it, _ := l.DB().Get(ctx, ref("a"), store.Eventual); return it.Exists() },
		func() bool {
			page, _ := l.DB().Query(ctx, store.Query{Table: store.Rooms, Part: "p"})
			return len(page.Items) == 1
		},
		func() bool {
			_, err := l.DB().Write(ctx, put.If(store.NotExists()))
			return store.Failed(err) != nil
		},
	} {
		wg.Go(func() {
			if !see() {
				t.Error("a reader has not seen the write")
			}
			told.Add(1)
		})
	}
	time.Sleep(20 * time.Millisecond)
	if n := told.Load(); n != 0 {
		t.Errorf("%d know of a write that is not durable", n)
	}
	gate.Unlock()
	wg.Wait()
}

func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := local.NewMemory().Options()
		opt.Lag = time.Second
		l := open(t, opt)
		defer l.Close()
		ctx := all(t.Context())
		for i := range 10 {
			if _, err := l.DB().Write(ctx, store.Put(store.Rooms, ref("a").Key, store.Attrs{"v": int64(i)})); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		got, queried := map[int64]bool{}, map[int64]bool{}
		for range 500 {
			it, err := l.DB().Get(ctx, ref("a"), store.Eventual)
			if errors.Is(err, store.ErrNotFound) {
				it.Attrs = store.Attrs{"v": int64(-1)}
			}
			got[it.Int("v")] = true
			page, err := l.DB().Query(ctx, store.Query{Table: store.Rooms, Part: "p"})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Items) == 1 {
				queried[page.Items[0].Int("v")] = true
			}
			if it, err := l.DB().Get(ctx, ref("a"), store.Consistent); err != nil || it.Int("v") != 9 {
				t.Fatalf("a consistent get sees %v, %v", it, err)
			}
		}
		if len(got) < 8 || len(queried) < 8 {
			t.Errorf("eventual reads saw only %v and %v", got, queried)
		}
		time.Sleep(time.Second)
		for range 50 {
			if it, err := l.DB().Get(ctx, ref("a"), store.Eventual); err != nil || it.Int("v") != 9 {
				t.Fatalf("after the lag an eventual get sees %v, %v", it, err)
			}
		}
	})
}

func TestShuffle(t *testing.T) {
	opt := local.NewMemory().Options()
	opt.Shuffle = true
	l := open(t, opt)
	ctx := all(t.Context())
	var want []string
	for i := range 60 {
		sort := fmt.Sprintf("%02d", i%20)
		want = append(want, sort)
		if _, err := l.DB().Write(ctx, store.Put(store.Rooms, ref(sort).Key, nil)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	following, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan bool)
	go func() {
		l.Follow(following, store.Rooms.Changes(), "f", func(_ context.Context, cs []store.Change) error {
			for _, c := range cs {
				got = append(got, c.Key.Sort)
			}
			return nil
		})
		close(done)
	}()
	time.Sleep(10 * time.Millisecond)
	if err := l.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
	<-done
	if slices.Equal(got, want) {
		t.Error("nothing is shuffled")
	}
	counts := map[string]int{}
	for _, k := range got {
		counts[k]++
	}
	for _, k := range want {
		if counts[k] < 3 {
			t.Errorf("%s came %d times", k, counts[k])
		}
	}
}

// TestCursorsSurvive follows under two names across restarts: each goes on where
// it was, and records are deleted when both are done.
func TestCursorsSurvive(t *testing.T) {
	disk := local.NewMemory()
	ctx := all(t.Context())
	seen := map[string][]string{}
	var mu sync.Mutex
	follow := func(l *local.Local, names ...string) (stop func()) {
		following, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				l.Follow(following, store.Rooms.Changes(), name, func(_ context.Context, cs []store.Change) error {
					mu.Lock()
					defer mu.Unlock()
					for _, c := range cs {
						seen[name] = append(seen[name], c.Key.Sort)
					}
					return nil
				})
			})
		}
		time.Sleep(10 * time.Millisecond)
		if err := l.Settled(ctx); err != nil {
			t.Fatal(err)
		}
		return func() { cancel(); wg.Wait() }
	}
	write := func(l *local.Local, from, to int) {
		for i := from; i < to; i++ {
			if _, err := l.DB().Write(ctx, store.Put(store.Rooms, ref(fmt.Sprintf("%03d", i)).Key, nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := open(t, disk.Options())
	follow(l, "a", "b")()
	write(l, 0, 150)
	follow(l, "a", "b")()
	write(l, 150, 160)
	follow(l, "a")()
	l.Close()
	l = open(t, disk.Options())
	write(l, 160, 170)
	if err := l.Follow(ctx, store.Users.Changes(), "a", nil); err == nil {
		t.Error("a table without a stream is followed")
	}
	stop := follow(l, "a", "b")
	if err := l.Follow(ctx, store.Rooms.Changes(), "a", nil); err == nil {
		t.Error("two followers have one name")
	}
	stop()
	for _, name := range []string{"a", "b"} {
		if len(seen[name]) != 170 || !slices.IsSorted(seen[name]) {
			t.Errorf("%s saw %d changes", name, len(seen[name]))
		}
	}
	if follow(l, "new")(); len(seen["new"]) != 0 {
		t.Errorf("a new follower sees %d records that all others have handled", len(seen["new"]))
	}
	if err := l.Forget(store.Rooms.Changes(), "new"); err != nil {
		t.Error(err)
	}
	l.Close()
}

// TestFolder shows what is on the disk.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	l := open(t, local.Options{Dir: dir})
	ctx := all(t.Context())
	if err := l.Blobs().Put(ctx, "a/../b", "", strings.NewReader("x"), 1); err == nil {
		t.Error("a key leaves the folder")
	}
	if err := l.Blobs().Put(ctx, "a/b", "text/plain", strings.NewReader("content"), 7); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/media/*/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if content, err := os.ReadFile(files[0]); err != nil || string(content) != "content" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the folder is open to others: %v, %v", info.Mode(), err)
	}
}
