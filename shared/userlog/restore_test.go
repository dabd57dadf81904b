package userlog_test

import (
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

func (l *log) write(w store.Write) {
	l.t.Helper()
	if _, err := l.DB.Write(l.ctx, w); err != nil && store.Failed(err) == nil {
		l.t.Fatal(err)
	}
}

// A log that is put back goes on with its numbers, in another generation; one that
// never was begins in it.
func TestARestoredLogIsOfANewGeneration(t *testing.T) {
	l := open(t, local.NewMemory(), new(ahead), nil)
	l.append(10)
	restore := func(generation int64) {
		t.Helper()
		it, err := l.DB.Get(l.ctx, store.Ref{Table: store.Users, Key: userlog.LogKey(user)}, store.Consistent)
		if err != nil {
			t.Fatal(err)
		}
		it = userlog.Restored(it, generation)
		l.write(store.Put(store.Users, it.Key, it.Attrs))
		l.write(userlog.Begun(user, generation))
		l.write(userlog.Begun("@nobody:test", generation))
	}
	head := func(user string, n, epoch int64) {
		t.Helper()
		h, err := l.Head(l.ctx, user)
		if err != nil || h.N < n || h.Epoch != epoch {
			t.Errorf("the log of %s is at %d of the generation %d, %v; want %d of %d", user, h.N, h.Epoch, err, n, epoch)
		}
	}
	head(user, 10, 1)
	restore(1000)
	head(user, 10, 1000)
	head("@nobody:test", 0, 1000)
	if n := l.append(1); n != 11 {
		t.Errorf("the entry after 10 is %d", n)
	}
	n, err := l.Append(l.ctx, "@nobody:test", userlog.Entry{Kind: userlog.KindAccountData, Type: "x"})
	if err != nil {
		t.Fatal(err)
	}
	head("@nobody:test", n, 1000)
	// A clock that was put back does not bring a former generation back.
	restore(500)
	head(user, 11, 1001)
}
