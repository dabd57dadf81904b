package archive

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// From is what is exported. All but Media, Release and DB are required.
type From struct {
	ServerName string
	Release    string
	Source     Source
	// DB is what Source reads, where that is not one moment: Export fails if a room has
	// moved meanwhile. It shows a mistake, and no more: see the package comment.
	DB    store.DB
	Blobs blob.Store
	// Media is the folder for the bytes of blobs, made if there are any. Without it
	// a server that has some is not exported.
	Media string
	Now   time.Time
}

// blobsPage is how many blobs are listed at a time.
const blobsPage = 500

// Export writes a file. Memory does not grow with what is in it; the HEADs of rooms
// lie in a temporary file until their turn comes.
func Export(ctx context.Context, w io.Writer, from From) (Summary, error) {
	ctx = grant.With(ctx, "export", grant.Of(grant.ReadBlobs(""), grant.ReadTable(store.Rooms.Name)), nil)
	out := &writer{w: bufio.NewWriterSize(w, 1<<20), counted: newCounted()}
	head := Head{Version: Version, ServerName: from.ServerName, ID: rand.Text(), At: from.Now.UTC().Truncate(time.Second), Release: from.Release}
	if err := out.write(line{Head: &head}); err != nil {
		return Summary{}, err
	}
	heads, err := os.CreateTemp("", "virga-heads-")
	if err != nil {
		return Summary{}, err
	}
	defer os.Remove(heads.Name())
	defer heads.Close()
	err = from.rows(ctx, out, heads)
	if err == nil {
		err = from.heads(ctx, out, heads)
	}
	// Blobs come after the rows that name them: what is deleted meanwhile has lost its
	// rows as well, and what is new is not named.
	if err == nil {
		err = from.objects(ctx, out)
	}
	if err != nil {
		return Summary{}, err
	}
	end := out.end()
	if err := out.write(line{End: &end}); err != nil {
		return Summary{}, err
	}
	return end, out.w.Flush()
}

// rows writes the rows of all tables, and the HEADs of rooms to a file of their own.
func (from *From) rows(ctx context.Context, out *writer, heads io.Writer) error {
	spool := bufio.NewWriter(heads)
	for _, t := range store.Tables {
		for it, err := range from.Source.Items(ctx, t) {
			if err != nil {
				return fmt.Errorf("read the table %s: %w", t.Name, err)
			}
			if leftBehind(t, it.Key) || !it.Expires.IsZero() && !it.Expires.After(from.Now) {
				continue
			}
			if err := refused(t, it, from.ServerName); err != nil {
				return fmt.Errorf("%w: is this the right server name?", err)
			}
			l, err := rowLine(t, it)
			if err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
			text, err := out.encode(l)
			if err != nil {
				return fmt.Errorf("table %s: %s: %w", t.Name, it.Key, err)
			}
			if out.rows[t.Name]++; isHead(t, it) {
				out.room(it, roomOf(it))
				_, err = spool.Write(text)
			} else {
				err = out.raw(text)
			}
			if err != nil {
				return err
			}
		}
	}
	return spool.Flush()
}

// heads copies the HEADs of rooms to the end of the rows, and makes sure that they
// are still as they were.
func (from *From) heads(ctx context.Context, out *writer, heads *os.File) error {
	if _, err := heads.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReader(heads)
	for {
		was := map[store.Key]store.Item{}
		for len(was) < store.MaxBatchGet {
			text, err := r.ReadBytes('\n')
			if err == io.EOF {
				break
			}
			if err == nil {
				err = out.raw(text)
			}
			if err != nil {
				return err
			}
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				return err
			}
			_, it, err := l.item()
			if err != nil {
				return err
			}
			was[it.Key] = it
		}
		if len(was) == 0 {
			return nil
		}
		if err := from.still(ctx, was); err != nil {
			return err
		}
	}
}

// still makes sure that rooms stand where they did.
func (from *From) still(ctx context.Context, was map[store.Key]store.Item) error {
	if from.DB == nil {
		return nil
	}
	var refs []store.Ref
	for key := range was {
		refs = append(refs, store.Ref{Table: store.Rooms, Key: key})
	}
	now, err := store.GetAll(ctx, from.DB, refs, store.Consistent)
	if err != nil {
		return fmt.Errorf("look whether rooms have moved: %w", err)
	}
	for _, it := range now {
		if it.Int(timeline.HeadVersion) == was[it.Key].Int(timeline.HeadVersion) {
			delete(was, it.Key)
		}
	}
	for _, it := range was {
		return fmt.Errorf("the server was used while it was exported (the room %s has moved): export copies of one second, or a server that stands still", roomOf(it))
	}
	return nil
}

// objects writes the blobs, their bytes to the folder.
func (from *From) objects(ctx context.Context, out *writer) error {
	for after := ""; ; {
		page, err := from.Blobs.List(ctx, "", after, blobsPage)
		if err != nil {
			return fmt.Errorf("list the media: %w", err)
		}
		for _, m := range page {
			after = m.Key
			l, err := from.object(ctx, m.Key)
			if errors.Is(err, blob.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("copy the media %s: %w", m.Key, err)
			}
			out.Blobs++
			if err := out.write(line{Blob: &l}); err != nil {
				return err
			}
		}
		if len(page) < blobsPage {
			return nil
		}
	}
}

// object copies a blob to the folder.
func (from *From) object(ctx context.Context, key string) (l blobLine, err error) {
	if from.Media == "" {
		return l, errors.New("there is no place for media beside this file: name a file to export to")
	}
	r, m, err := from.Blobs.Get(ctx, key)
	if err != nil {
		return l, err
	}
	defer r.Close()
	if err := os.MkdirAll(from.Media, 0o700); err != nil {
		return l, err
	}
	f, err := os.CreateTemp(from.Media, "partial-")
	if err != nil {
		return l, err
	}
	defer os.Remove(f.Name()) // it has another name by then, if all went well
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return l, err
	}
	l = blobLine{Key: key, ContentType: m.ContentType, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}
	return l, os.Rename(f.Name(), filepath.Join(from.Media, l.SHA256))
}

// checked reads to the end of r and finds out whether it was what the hash says.
type checked struct {
	io.Reader
	h   hash.Hash
	sum string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.h.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(c.h.Sum(nil)) != c.sum {
		return n, errors.New("its bytes are not those that were exported")
	}
	return n, err
}
