package local

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/grant"
)

// blobs implements blob.Store. The bytes of an object are a file of their own
// with a name that is never used twice; a row in Pebble says which file is the
// object now. So an object appears whole or not at all, also when it replaces
// another. Files without an object are listed as orphans before they are made
// and removed at the next start if they are still listed.
type blobs struct{ l *Local }

func (l *Local) mediaDir() string { return l.path("media") }

func (l *Local) path(elem ...string) string {
	p := l.opt.Dir
	for _, e := range elem {
		p = l.fs.PathJoin(p, e)
	}
	return p
}

// object is the row of an object.
type object struct {
	file string
	meta blob.Meta
}

func encodeObject(o object) []byte {
	b := []byte{version1}
	b = binary.AppendVarint(b, o.meta.Size)
	b = binary.AppendVarint(b, o.meta.Modified.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(o.file)))
	b = append(b, o.file...)
	return append(b, o.meta.ContentType...)
}

func decodeObject(key string, b []byte) (o object, err error) {
	if len(b) == 0 || b[0] != version1 {
		return o, fmt.Errorf("object %s: %w", key, errCorrupt)
	}
	d := reader{rest: b[1:]}
	o.meta = blob.Meta{Key: key, Size: d.varint(), Modified: time.UnixMilli(d.varint()).UTC()}
	o.file = string(d.take())
	o.meta.ContentType = string(d.rest)
	if d.bad {
		return o, fmt.Errorf("object %s: %w", key, errCorrupt)
	}
	return o, nil
}

func blobKey(key string) []byte { return append([]byte{keyBlob}, key...) }

func checkBlobKey(key string) error {
	bad := key == "" || len(key) > 1024
	for _, c := range []byte(key) {
		bad = bad || !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~/-", c) >= 0)
	}
	for segment := range strings.SplitSeq(key, "/") {
		bad = bad || segment == "." || segment == ".."
	}
	if bad || key[0] == '/' || key[len(key)-1] == '/' {
		return fmt.Errorf("%q is no key for an object", key)
	}
	return nil
}

// enter begins a call about an object.
func (b blobs) enter(ctx context.Context, op Op, a grant.Action, key string) (func(*error), error) {
	if err := grant.Check(ctx, grant.Blob, key, a); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if op != OpBlobList {
		if err := checkBlobKey(key); err != nil {
			return nil, err
		}
	}
	return b.l.enter(op, a == grant.Write, key, nil)
}

// Put implements blob.Store.
func (b blobs) Put(ctx context.Context, key, contentType string, r io.Reader, size int64) (err error) {
	leave, err := b.enter(ctx, OpBlobPut, grant.Write, key)
	if err != nil {
		return err
	}
	defer leave(&err)
	if err := b.put(ctx, key, contentType, r, size); err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}

func (b blobs) put(ctx context.Context, key, contentType string, r io.Reader, size int64) error {
	l := b.l
	file := newFile()
	if err := l.pdb.Set(append([]byte{keyOrphan}, file...), nil, l.syncOptions()); err != nil {
		return err
	}
	l.gate.RUnlock() // r may take its time
	n, err := l.writeFile(ctx, file, r)
	l.gate.RLock()
	if ended := l.err(); ended != nil {
		return ended
	}
	if err == nil && size >= 0 && n != size {
		err = fmt.Errorf("the reader held %d bytes instead of %d", n, size)
	}
	if err != nil {
		return errors.Join(err, l.removeFile(file))
	}
	s := l.stripe(blobKey(key))
	s.mu.Lock()
	old, err := l.object(key)
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		s.mu.Unlock()
		return errors.Join(err, l.removeFile(file))
	}
	o := object{file, blob.Meta{Size: n, ContentType: contentType, Modified: l.clock.Now()}}
	batch := l.pdb.NewBatch()
	batch.Set(blobKey(key), encodeObject(o), nil)
	batch.Delete(append([]byte{keyOrphan}, file...), nil)
	return l.replaceObject(s, batch, old.file)
}

// replaceObject commits the batch, unlocks the stripe, and removes the file of
// the former object, if there was one.
func (l *Local) replaceObject(s *stripe, batch *pebble.Batch, file string) error {
	if file != "" {
		batch.Set(append([]byte{keyOrphan}, file...), nil, nil)
	}
	c := &commit{durable: make(chan struct{})}
	s.pending.Store(c)
	if err := l.commit(batch, c, nil, s.mu.Unlock); err != nil {
		return err
	}
	if file != "" {
		return l.removeFile(file)
	}
	return nil
}

// newFile returns the name of a new file: a folder of 256 and 20 hex digits.
func newFile() string {
	var b [11]byte
	binary.BigEndian.PutUint64(b[:8], rand.Uint64())
	binary.BigEndian.PutUint32(b[7:], rand.Uint32())
	name := hex.EncodeToString(b[:])
	return name[:2] + "/" + name[2:]
}

// writeFile writes and syncs a new file and its folder.
func (l *Local) writeFile(ctx context.Context, file string, r io.Reader) (n int64, err error) {
	folder := l.path("media", file[:2])
	if _, err := l.fs.Stat(folder); err != nil {
		if err := l.fs.MkdirAll(folder, 0o700); err != nil {
			return 0, err
		}
		if err := l.syncFolder(l.mediaDir()); err != nil {
			return 0, err
		}
	}
	f, err := l.fs.Create(l.path("media", file[:2], file[3:]), vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(f, &abortable{ctx, r})
	if err == nil && !l.opt.NoSync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = l.syncFolder(folder)
	}
	return n, err
}

func (l *Local) syncFolder(path string) error {
	if l.opt.NoSync {
		return nil
	}
	d, err := l.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// abortable stops reading when ctx ends.
type abortable struct {
	ctx context.Context
	r   io.Reader
}

func (a *abortable) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.r.Read(p)
}

// removeFile removes the file of no object, and then forgets it.
func (l *Local) removeFile(file string) error {
	if len(file) < 4 {
		return fmt.Errorf("file %q: %w", file, errCorrupt)
	}
	err := l.fs.Remove(l.path("media", file[:2], file[3:]))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.pdb.Delete(append([]byte{keyOrphan}, file...), pebble.NoSync)
}

// removeOrphans removes the files that a crash left behind.
func (l *Local) removeOrphans() error {
	var files []string
	err := l.scan([]byte{keyOrphan}, func(key, _ []byte) error {
		files = append(files, string(key[1:]))
		return nil
	})
	for _, f := range files {
		err = errors.Join(err, l.removeFile(f))
	}
	return err
}

// object reads the row of an object.
func (l *Local) object(key string) (object, error) {
	raw, closer, err := l.pdb.Get(blobKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return object{}, blob.ErrNotFound
	}
	if err != nil {
		return object{}, err
	}
	defer closer.Close()
	return decodeObject(key, raw)
}

// Get implements blob.Store.
func (b blobs) Get(ctx context.Context, key string) (rc io.ReadCloser, m blob.Meta, err error) {
	leave, err := b.enter(ctx, OpBlobGet, grant.Read, key)
	if err != nil {
		return nil, m, err
	}
	defer leave(&err)
	for {
		o, err := b.stat(key)
		if err != nil {
			return nil, m, fmt.Errorf("get object %s: %w", key, err)
		}
		f, err := b.l.fs.Open(b.l.path("media", o.file[:2], o.file[3:]), vfs.SequentialReadsOption)
		if err == nil {
			return f, o.meta, nil
		}
		// It may have been replaced between the two.
		if now, again := b.stat(key); again == nil && now.file == o.file {
			return nil, m, fmt.Errorf("get object %s: %w", key, err)
		}
	}
}

// stat reads the row of an object when it is durable.
func (b blobs) stat(key string) (object, error) {
	o, err := b.l.object(key)
	b.l.stripe(blobKey(key)).waitDurable()
	return o, err
}

// Stat implements blob.Store.
func (b blobs) Stat(ctx context.Context, key string) (m blob.Meta, err error) {
	leave, err := b.enter(ctx, OpBlobStat, grant.Read, key)
	if err != nil {
		return m, err
	}
	defer leave(&err)
	o, err := b.stat(key)
	if err != nil {
		return m, fmt.Errorf("stat object %s: %w", key, err)
	}
	return o.meta, nil
}

// Delete implements blob.Store.
func (b blobs) Delete(ctx context.Context, key string) (err error) {
	leave, err := b.enter(ctx, OpBlobDelete, grant.Write, key)
	if err != nil {
		return err
	}
	defer leave(&err)
	s := b.l.stripe(blobKey(key))
	s.mu.Lock()
	o, err := b.l.object(key)
	if err != nil {
		s.mu.Unlock()
		if errors.Is(err, blob.ErrNotFound) {
			s.waitDurable()
			return nil
		}
		return err
	}
	batch := b.l.pdb.NewBatch()
	batch.Delete(blobKey(key), nil)
	if err := b.l.replaceObject(s, batch, o.file); err != nil {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	return nil
}

// List implements blob.Store.
func (b blobs) List(ctx context.Context, prefix, after string, limit int) (list []blob.Meta, err error) {
	leave, err := b.enter(ctx, OpBlobList, grant.Read, prefix)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	lower := blobKey(prefix)
	if limit <= 0 || after >= prefix && !strings.HasPrefix(after, prefix) {
		return nil, nil
	}
	it, err := b.l.pdb.NewIter(&pebble.IterOptions{
		LowerBound: maxKey(lower, append(blobKey(after), 0)),
		UpperBound: partEnd(lower),
	})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && err == nil && len(list) < limit; ok = it.Next() {
		var o object
		o, err = decodeObject(string(it.Key()[1:]), it.Value())
		o.meta.ContentType = ""
		list = append(list, o.meta)
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return nil, fmt.Errorf("list objects %s: %w", prefix, err)
	}
	return list, nil
}
