package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// Into is what a file is imported into. All but Media and LogOut are required.
type Into struct {
	ServerName string
	DB         store.DB
	// Source reads DB.
	Source Source
	Queues queue.Sender
	Blobs  blob.Store
	// Media is the folder with the bytes of blobs.
	Media string
	Now   time.Time
	// LogOut leaves all sessions and devices behind: everybody logs in anew. It is for a
	// file that is old, whose sessions may have been ended since.
	LogOut bool
}

// width is how many rows are written at a time, each of which is in memory.
const width = 32

func uses() grant.Set {
	var names []string
	for _, t := range store.Tables {
		names = append(names, t.Name)
	}
	return grant.Of(grant.ReadTable(names...), grant.WriteTable(names...), grant.SendTo(queue.Work.Name), grant.WriteBlobs(""))
}

// Import fills empty stores from a file, and may be repeated with the same file until
// it succeeds. An error that is ErrDamaged says that it never will. Nobody else may use
// the stores meanwhile.
func Import(ctx context.Context, r io.Reader, into Into) (Summary, error) {
	ctx, cancel := context.WithCancel(grant.With(ctx, "import", uses(), nil))
	defer cancel()
	if err := into.check(r); err != nil {
		return Summary{}, err
	}
	in, err := open(r)
	if err != nil {
		return Summary{}, err
	}
	if err := into.of(in.head); err != nil {
		return Summary{}, err
	}
	if err := into.begin(ctx, in.head.ID); err != nil {
		return Summary{}, err
	}
	again := pending{}
	rows := newPool()
	heads := false
	err = in.each(func(t *store.Table, it store.Item) error {
		if leftBehind(t, it.Key) || into.LogOut && accounts.IsLogin(t, it.Key) || !it.Expires.IsZero() && !it.Expires.After(into.Now) {
			return rows.failed()
		}
		again.note(t, it)
		if isHead(t, it) != heads {
			rows.wait() // HEADs are for when everything else is there
			heads = !heads
		}
		return rows.do(func() error {
			if isHead(t, it) {
				if err := whole(ctx, into.DB, it); err != nil {
					return err
				}
			}
			for _, w := range restored(t, it, clock.Millis(into.Now)) {
				if err := into.write(ctx, w); err != nil {
					return err
				}
			}
			return nil
		})
	}, func(l blobLine) error { return into.object(ctx, l) })
	rows.wait()
	if err = errors.Join(err, rows.failed()); err != nil {
		return Summary{}, err
	}
	for _, t := range again.tasks() {
		body, err := json.Marshal(t)
		if err != nil {
			return Summary{}, err
		}
		if err := into.Queues.Send(ctx, queue.Work, queue.Message{Body: string(body)}); err != nil {
			return Summary{}, fmt.Errorf("send what may be pending: %w", err)
		}
	}
	return in.end(), into.write(ctx, store.Delete(store.Server, mark))
}

// check reads a file to its end before anything is written, if it can be read twice.
func (into *Into) check(r io.Reader) error {
	s, ok := r.(io.Seeker)
	if !ok {
		return nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe
	}
	in, err := open(r)
	if err != nil {
		return err
	}
	if err := into.of(in.head); err != nil {
		return err
	}
	err = in.each(
		func(*store.Table, store.Item) error { return nil },
		func(l blobLine) error { return into.present(l) })
	if err != nil {
		return err
	}
	_, err = s.Seek(start, io.SeekStart)
	return err
}

// of refuses the file of another server.
func (into *Into) of(h Head) error {
	if h.ServerName != into.ServerName {
		return fmt.Errorf("the file is of the server %s, and this one is configured as %s: say -server-name %s. A server cannot change its name", h.ServerName, into.ServerName, h.ServerName)
	}
	return nil
}

// begin marks the stores as those that the file is imported into. They must be
// empty, or have its mark.
func (into *Into) begin(ctx context.Context, id string) error {
	it, err := into.DB.Get(ctx, store.Ref{Table: store.Server, Key: mark}, store.Consistent)
	switch {
	case err == nil && it.Str("id") == id:
		return nil
	case err == nil:
		return errors.New("the import of another file began here and did not end: import that one again, or empty the stores")
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	for _, t := range store.Tables {
		for it, err := range into.Source.Items(ctx, t) {
			if err != nil {
				return fmt.Errorf("look whether the table %s is empty: %w", t.Name, err)
			}
			return fmt.Errorf("there is a server already (the table %s holds %s): a file is imported into empty stores", t.Name, it.Key)
		}
	}
	return into.write(ctx, store.Put(store.Server, mark, store.Attrs{"id": id}))
}

// tries is how often a write is tried whose outcome is not known. It can be repeated.
const tries = 2

// write writes a row, however busy the store is. That a row is there already which is
// only to be made is fine.
func (into *Into) write(ctx context.Context, w store.Write) error {
	unknown := 0
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		_, err := into.DB.Write(ctx, w)
		busy := errors.Is(err, store.ErrThrottled) || errors.Is(err, store.ErrConflict)
		if !busy {
			unknown++
		}
		switch {
		case err == nil, store.Failed(err) != nil:
			return nil
		case unknown == tries, pause > 20*time.Second, ctx.Err() != nil:
			return fmt.Errorf("write to the table %s: %w", w.Table.Name, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// file is where the bytes of a blob are.
func (into *Into) file(l blobLine) (string, error) {
	if sum, err := hex.DecodeString(l.SHA256); err != nil || len(sum) != sha256.Size || l.Size < 0 {
		return "", fmt.Errorf("%w: the media %q has no size or no SHA-256", ErrDamaged, l.Key)
	}
	if into.Media == "" {
		return "", fmt.Errorf("the file names media, whose bytes are in a folder beside it: name the file, and keep the folder with it")
	}
	return filepath.Join(into.Media, l.SHA256), nil
}

// present makes sure that the bytes of a blob are there.
func (into *Into) present(l blobLine) error {
	name, err := into.file(l)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("the media %s is missing: %w", l.Key, err)
	}
	if info.Size() != l.Size {
		return fmt.Errorf("%w: the media %s in %s has %d bytes, and not %d", ErrDamaged, l.Key, name, info.Size(), l.Size)
	}
	return nil
}

func (into *Into) object(ctx context.Context, l blobLine) error {
	name, err := into.file(l)
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("the media %s is missing: %w", l.Key, err)
	}
	defer f.Close()
	return into.Blobs.Put(ctx, l.Key, l.ContentType, &checked{f, sha256.New(), l.SHA256}, l.Size)
}

// pool does width things at a time.
type pool struct {
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func newPool() *pool { return &pool{slots: make(chan struct{}, width)} }

// do begins f, and returns the error of an earlier one, if there was any.
func (p *pool) do(f func() error) error {
	p.slots <- struct{}{}
	p.wg.Go(func() {
		defer func() { <-p.slots }()
		if err := f(); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.err == nil {
				p.err = err
			}
		}
	})
	return p.failed()
}

func (p *pool) wait() { p.wg.Wait() }

func (p *pool) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
