package local_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// all holds every grant.
func all(ctx context.Context) context.Context {
	var set grant.Set
	for _, t := range store.Tables {
		set = append(set, grant.ReadTable(t.Name)...)
		set = append(set, grant.WriteTable(t.Name)...)
	}
	for _, q := range queue.Queues {
		set = append(set, grant.SendTo(q.Name)...)
	}
	set = append(set, grant.ReadBlobs("")...)
	set = append(set, grant.WriteBlobs("")...)
	return grant.With(ctx, "test", set, nil)
}

func open(t testing.TB, opt local.Options) *local.Local {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir, opt.FS = "/virga", local.NewMemory().Options().FS
	}
	l, err := local.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, local.Options{Dir: dir})
	_, err := local.Open(local.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("a second open: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, local.Options{Dir: dir})
}

func TestClosed(t *testing.T) {
	l := open(t, local.Options{Dir: t.TempDir()})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := l.DB().Write(all(t.Context()), store.Put(store.Rooms, store.Key{Part: "p", Sort: "s"}, nil))
	if !errors.Is(err, local.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	ctx := all(t.Context())
	start := time.Now()
	l := open(t, local.Options{Dir: dir})
	t.Log("open new", time.Since(start))
	k := store.Key{Part: "p", Sort: "s"}
	it, err := l.DB().Write(ctx, store.Put(store.Rooms, k, store.Attrs{"a": "x", "n": int64(3)}))
	if err != nil || it.Str("a") != "x" {
		t.Fatal(it, err)
	}
	got := make(chan []store.Change)
	go l.Follow(ctx, store.Rooms.Changes(), "f", func(ctx context.Context, c []store.Change) error { got <- c; return nil })
	if c := <-got; len(c) != 1 || c[0].Key != k {
		t.Fatal(c)
	}
	if err := l.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	l.Queues().Send(ctx, queue.Work, queue.Message{Body: "hello"})
	msgs := make(chan []queue.Message)
	go l.Consume(ctx, queue.Work, func(ctx context.Context, m []queue.Message) error { msgs <- m; return nil })
	if m := <-msgs; len(m) != 1 || m[0].Body != "hello" || m[0].Attempt != 1 {
		t.Fatal(m)
	}
	if err := l.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Blobs().Put(ctx, "a/b", "text/plain", strings.NewReader("abc"), 3); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	l = open(t, local.Options{Dir: dir})
	t.Log("open again", time.Since(start))
	if it, err = l.DB().Get(ctx, store.Ref{Table: store.Rooms, Key: k}, store.Consistent); err != nil || it.Int("n") != 3 {
		t.Fatal(it, err)
	}
	if m, err := l.Blobs().Stat(ctx, "a/b"); err != nil || m.Size != 3 {
		t.Fatal(m, err)
	}
}
