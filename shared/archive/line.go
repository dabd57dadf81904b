package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/virga-im/virga/shared/store"
)

// A line is exactly one of a head, a row, a blob and an end.
type line struct {
	Head *Head `json:"export,omitempty"`

	Table   string           `json:"table,omitempty"`
	Part    string           `json:"part,omitempty"`
	Sort    string           `json:"sort,omitempty"`
	Attrs   map[string]value `json:"attrs,omitempty"`
	Expires *int64           `json:"expires,omitempty"`

	Blob *blobLine `json:"blob,omitempty"`
	End  *Summary  `json:"end,omitempty"`
}

type blobLine struct {
	Key         string `json:"key"`
	ContentType string `json:"content_type"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}

// A value has exactly one type.
type value struct {
	S    *string `json:"S,omitempty"`
	N    *string `json:"N,omitempty"`
	B    *[]byte `json:"B,omitempty"`
	Bool *bool   `json:"BOOL,omitempty"`
}

// maxLine is more than the longest line takes: an item of store.MaxItemSize, each
// byte of which may be written as six.
const maxLine = 6*store.MaxItemSize + 64<<10

var tables = func() map[string]*store.Table {
	all := map[string]*store.Table{}
	for _, t := range store.Tables {
		all[t.Name] = t
	}
	return all
}()

// rowLine is the line of an item.
func rowLine(t *store.Table, it store.Item) (line, error) {
	l := line{Table: t.Name, Part: it.Key.Part, Sort: it.Key.Sort, Attrs: make(map[string]value, len(it.Attrs))}
	for name, v := range it.Attrs {
		switch v := v.(type) {
		case string:
			l.Attrs[name] = value{S: &v}
		case int64:
			text := strconv.FormatInt(v, 10)
			l.Attrs[name] = value{N: &text}
		case []byte:
			if v == nil {
				v = []byte{}
			}
			l.Attrs[name] = value{B: &v}
		case bool:
			l.Attrs[name] = value{Bool: &v}
		default:
			return line{}, fmt.Errorf("%s: attribute %q holds a %T", it.Key, name, v)
		}
	}
	if !it.Expires.IsZero() {
		seconds := it.Expires.Unix()
		l.Expires = &seconds
	}
	return l, nil
}

// item is the item of a row line. What the store's contract forbids is an error
// here, so that it is found before anything is written.
func (l *line) item() (t *store.Table, it store.Item, err error) {
	if t = tables[l.Table]; t == nil {
		return nil, it, fmt.Errorf("there is no table %.40q", l.Table)
	}
	it = store.Item{Key: store.Key{Part: l.Part, Sort: l.Sort}, Attrs: make(store.Attrs, len(l.Attrs))}
	if l.Part == "" || l.Sort == "" || len(l.Part) > store.MaxPartKey || len(l.Sort) > store.MaxSortKey {
		return nil, it, fmt.Errorf("a key has two parts, of at most %d and %d bytes", store.MaxPartKey, store.MaxSortKey)
	}
	for name, v := range l.Attrs {
		if it.Attrs[name], err = v.plain(); err != nil {
			return nil, it, fmt.Errorf("attribute %.40q: %w", name, err)
		}
		plain := name != "" && len(name) <= 255 && name != store.PartAttr && name != store.SortAttr && name != store.TTL
		for _, c := range []byte(name) {
			plain = plain && c > ' ' && c <= '~'
		}
		if !plain {
			return nil, it, fmt.Errorf("%.40q is no name for an attribute", name)
		}
	}
	if l.Expires != nil {
		if *l.Expires <= 0 || *l.Expires > 1<<40 {
			return nil, it, fmt.Errorf("%d is no time in seconds", *l.Expires)
		}
		it.Expires = time.Unix(*l.Expires, 0).UTC()
	}
	if n := store.Size(it); n > store.MaxItemSize {
		return nil, it, fmt.Errorf("the item has %d bytes; at most %d are stored", n, store.MaxItemSize)
	}
	return t, it, nil
}

func (v value) plain() (any, error) {
	types := 0
	var plain any
	if v.S != nil {
		types, plain = types+1, *v.S
	}
	if v.B != nil {
		types, plain = types+1, *v.B
	}
	if v.Bool != nil {
		types, plain = types+1, *v.Bool
	}
	if v.N != nil {
		n, err := strconv.ParseInt(*v.N, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != *v.N {
			return nil, fmt.Errorf("%.40q is not an integer of 64 bits", *v.N)
		}
		types, plain = types+1, n
	}
	if types != 1 {
		return nil, errors.New("a value is one of S, N, B and BOOL")
	}
	return plain, nil
}

// counted is what is found out of a file on the way through it.
type counted struct {
	sum  hash.Hash
	rows map[string]int64
	Summary
	roots [sha256.Size]byte
}

func newCounted() *counted {
	c := &counted{sum: sha256.New(), rows: map[string]int64{}}
	for name := range tables {
		c.rows[name] = 0
	}
	return c
}

// room counts a room.
func (c *counted) room(it store.Item, id string) {
	c.Rooms++
	one := sha256.Sum256([]byte(id + "\x00" + string(it.Bytes("cur"))))
	for i := range one {
		c.roots[i] ^= one[i]
	}
}

// end is the Summary of all so far.
func (c *counted) end() Summary {
	return Summary{Rows: c.rows, Blobs: c.Blobs, Rooms: c.Rooms, Roots: hex.EncodeToString(c.roots[:8]), SHA256: hex.EncodeToString(c.sum.Sum(nil))}
}

// writer writes lines and counts them.
type writer struct {
	w *bufio.Writer
	*counted
	text bytes.Buffer
}

func (w *writer) encode(l line) ([]byte, error) {
	w.text.Reset()
	enc := json.NewEncoder(&w.text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return nil, err
	}
	return w.text.Bytes(), nil
}

func (w *writer) write(l line) error {
	text, err := w.encode(l)
	if err != nil {
		return err
	}
	return w.raw(text)
}

func (w *writer) raw(text []byte) error {
	w.sum.Write(text)
	_, err := w.w.Write(text)
	return err
}

// reader reads lines, and holds one of them at a time.
type reader struct {
	r *bufio.Reader
	*counted
	n    int // of the line
	head Head
}

// open reads the head.
func open(r io.Reader) (*reader, error) {
	in := &reader{r: bufio.NewReaderSize(r, maxLine), counted: newCounted()}
	l, err := in.line()
	if err != nil {
		return nil, err
	}
	if l.Head == nil {
		return nil, in.damaged(errors.New("a file begins with a line that has \"export\""))
	}
	if in.head = *l.Head; in.head.Version != Version {
		return nil, fmt.Errorf("the file is of version %d of the format, and this release reads version %d: use the release that wrote it, %s", in.head.Version, Version, in.head.Release)
	}
	if in.head.ServerName == "" || in.head.ID == "" || len(in.head.ID) > 64 {
		return nil, in.damaged(errors.New("the head lacks its server name or id"))
	}
	return in, nil
}

func (r *reader) damaged(err error) error { return fmt.Errorf("line %d: %w: %w", r.n, ErrDamaged, err) }

// line reads a line into l. Of the last one, the digest is not part.
func (r *reader) line() (l line, err error) {
	r.n++
	text, err := r.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return l, r.damaged(fmt.Errorf("a line has at most %d bytes", maxLine))
	case errors.Is(err, io.EOF):
		return l, r.damaged(errors.New("it ends before its last line; it was not written, or not copied, to the end"))
	case err != nil:
		return l, fmt.Errorf("line %d: %w", r.n, err)
	case !utf8.Valid(text):
		return l, r.damaged(errors.New("not UTF-8"))
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return l, r.damaged(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return l, r.damaged(errors.New("a line is one object"))
	}
	kinds := 0
	for _, is := range []bool{l.Head != nil, l.Table != "", l.Blob != nil, l.End != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || l.Table == "" && (l.Part != "" || l.Sort != "" || l.Attrs != nil || l.Expires != nil) {
		return l, r.damaged(errors.New("a line is a row, a blob, or the end"))
	}
	if l.End == nil {
		r.sum.Write(text)
	}
	return l, nil
}

// each gives the rows and blobs to f, and checks the end. What f returns is
// returned.
func (r *reader) each(row func(*store.Table, store.Item) error, object func(blobLine) error) error {
	for {
		l, err := r.line()
		switch {
		case err != nil:
			return err
		case l.Head != nil:
			return r.damaged(errors.New("a second head"))
		case l.Blob != nil:
			r.Blobs++
			err = object(*l.Blob)
		case l.End != nil:
			return r.ends(*l.End)
		default:
			t, it, bad := l.item()
			if bad != nil {
				return r.damaged(bad)
			}
			if err = refused(t, it, r.head.ServerName); err != nil {
				return r.damaged(err)
			}
			r.rows[t.Name]++
			if isHead(t, it) {
				r.room(it, roomOf(it))
			}
			err = row(t, it)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) ends(said Summary) error {
	is := r.end()
	same := maps.Equal(said.Rows, is.Rows) && said.Blobs == is.Blobs && said.Rooms == is.Rooms && said.Roots == is.Roots
	switch {
	case said.SHA256 != is.SHA256:
		return r.damaged(errors.New("it is not what was written: its SHA-256 is another than that of its last line"))
	case !same:
		return r.damaged(errors.New("it has another number of rows than its last line says"))
	}
	if _, err := r.r.ReadByte(); err != io.EOF {
		return r.damaged(errors.New("something follows the last line"))
	}
	return nil
}
