package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

var (
	now    = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	fields = store.Attrs{"x": "text \u2028 \x00 <ü>", "n": int64(-1 << 63), "b": []byte{0, 255}, "empty": []byte{}, "t": true, "f": false}
	grants = grant.Of(grant.ReadTable("rooms", "events", "users", "tokens", "e2ee", "federation", "media", "server"),
		grant.WriteTable("rooms", "events", "users", "tokens", "e2ee", "federation", "media", "server"),
		grant.ReadBlobs(""), grant.WriteBlobs(""))
)

// place is a local store in the memory of the test.
type place struct {
	*local.Local
	t   testing.TB
	ctx context.Context
}

func open(t testing.TB, o local.Options) *place {
	t.Helper()
	l, err := local.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &place{l, t, grant.With(context.Background(), "test", grants, nil)}
}

func empty(t testing.TB) *place { t.Helper(); return open(t, local.NewMemory().Options()) }

// Items implements archive.Source.
func (p *place) Items(ctx context.Context, table *store.Table) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		s, err := p.Snapshot()
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		defer s.Close()
		s.Items(ctx, table)(yield)
	}
}

func (p *place) put(t *store.Table, part, sort string, a store.Attrs, until time.Time) {
	p.t.Helper()
	if _, err := p.DB().Write(p.ctx, store.Put(t, store.Key{Part: part, Sort: sort}, a).Until(until)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) export(media string) ([]byte, archive.Summary) {
	p.t.Helper()
	var w bytes.Buffer
	sum, err := archive.Export(p.t.Context(), &w, archive.From{ServerName: "localhost", Source: p, Blobs: p.Blobs(), Media: media, Now: now})
	if err != nil {
		p.t.Fatal(err)
	}
	return w.Bytes(), sum
}

// sent keeps the tasks that were sent.
type sent []string

func (s *sent) Send(_ context.Context, _ *queue.Queue, m queue.Message) error {
	*s = append(*s, m.Body)
	return nil
}

func (p *place) into(tasks queue.Sender, media string) archive.Into {
	return archive.Into{ServerName: "localhost", DB: p.DB(), Source: p, Queues: tasks, Blobs: p.Blobs(), Media: media, Now: now}
}

func (p *place) take(file []byte) error {
	_, err := archive.Import(p.t.Context(), bytes.NewReader(file), p.into(new(sent), ""))
	return err
}

func (p *place) rows() (all []string) {
	p.t.Helper()
	for _, t := range store.Tables {
		for it, err := range p.Items(p.t.Context(), t) {
			if err != nil {
				p.t.Fatal(err)
			}
			all = append(all, fmt.Sprint(t.Name, " ", it.Key, " ", it.Attrs, " ", it.Expires.Unix()))
		}
	}
	return all
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	from := empty(t)
	for _, table := range store.Tables {
		for i := range 50 {
			from.put(table, fmt.Sprint("P\x00#", i%7), fmt.Sprint("sort ü", i), fields, time.Time{})
		}
		from.put(table, "P", "later", fields, now.Add(time.Hour))
	}
	file, sum := from.export("")
	to := empty(t)
	if err := to.take(file); err != nil {
		t.Fatal(err)
	}
	if a, b := from.rows(), to.rows(); !slices.Equal(a, b) || len(a) != 51*len(store.Tables) {
		t.Errorf("%d rows have become %d others", len(a), len(b))
	}
	if again, _ := to.export(""); !slices.Equal(lines(file)[1:len(lines(file))-1], lines(again)[1:len(lines(again))-1]) {
		t.Error("the file of the imported server is another")
	}
	if sum.Total() != int64(51*len(store.Tables)) {
		t.Errorf("the end counts %d rows", sum.Total())
	}
}

// What must not live twice is neither written nor read.
func TestWhatIsLeftBehind(t *testing.T) {
	from := empty(t)
	from.put(store.E2EE, "U#@a:localhost#DEV", "OTK#signed_curve25519#1#AAAA", fields, time.Time{})
	from.put(store.E2EE, "U#@a:localhost#DEV", "K", fields, time.Time{})
	from.put(store.E2EE, "U#@a:localhost#DEV", "T#1", fields, time.Time{})
	from.put(store.Tokens, "LT#x", "LT", fields, now)
	file, sum := from.export("")
	if sum.Total() != 1 || bytes.Contains(file, []byte("OTK#")) {
		t.Errorf("exported:\n%s", file)
	}
	// A file of another release may hold some.
	file = sealed(append(lines(file)[:2], `{"table":"e2ee","part":"U#@a:localhost#DEV","sort":"OTK#signed_curve25519#2#AAAB","attrs":{}}`))
	to := empty(t)
	if err := to.take(file); err != nil {
		t.Fatal(err)
	}
	if rows := to.rows(); len(rows) != 1 || !strings.Contains(rows[0], "T#1") {
		t.Errorf("imported: %q", rows)
	}
}

// What was in the queues follows from rows.
func TestWhatMayBePendingIsSentAgain(t *testing.T) {
	from := empty(t)
	for i := range 70 {
		user := fmt.Sprintf("U#@u%d:localhost", i)
		from.put(store.Users, user, "PUSH#one", fields, time.Time{})
		from.put(store.Users, user, "PUSH#two", fields, time.Time{})
	}
	from.put(store.Users, "U#@a:localhost", "LOG~presence", fields, time.Time{})
	from.put(store.Rooms, "R#!r:localhost", "RCT#0000000000000001#@a:localhost#", fields, now.Add(time.Hour))
	from.put(store.Rooms, "R#!r:localhost", "RCT#0000000000000002#@a:localhost#", fields, now.Add(time.Hour))
	file, _ := from.export("")
	var tasks sent
	if _, err := archive.Import(t.Context(), bytes.NewReader(file), empty(t).into(&tasks, "")); err != nil {
		t.Fatal(err)
	}
	kinds, users := map[string]int{}, map[string]bool{}
	for _, body := range tasks {
		var task struct {
			Kind, Room, User string
			Users            []string
		}
		if err := json.Unmarshal([]byte(body), &task); err != nil {
			t.Fatal(err)
		}
		kinds[task.Kind+" "+task.Room+task.User]++
		for _, u := range task.Users {
			users[u] = true
		}
	}
	want := map[string]int{"push ": 2, "tell_presence @a:localhost": 1, "tell_receipts !r:localhost": 1}
	if fmt.Sprint(kinds) != fmt.Sprint(want) || len(users) != 70 || !users["@u69:localhost"] {
		t.Errorf("sent %v, to %d users; want %v", kinds, len(users), want)
	}
}

func TestMediaGoesAlong(t *testing.T) {
	from := empty(t)
	content := bytes.Repeat([]byte("media"), 100_000)
	for _, key := range []string{"a", "a/b", "a/c~d"} {
		if err := from.Blobs().Put(from.ctx, key, "image/png", bytes.NewReader(content), -1); err != nil {
			t.Fatal(err)
		}
	}
	media := filepath.Join(t.TempDir(), "media")
	file, sum := from.export(media)
	if sum.Blobs != 3 {
		t.Fatalf("%+v", sum)
	}
	to := empty(t)
	if _, err := archive.Import(t.Context(), bytes.NewReader(file), to.into(new(sent), media)); err != nil {
		t.Fatal(err)
	}
	r, m, err := to.Blobs().Get(to.ctx, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, _ := io.ReadAll(r); !bytes.Equal(got, content) || m.ContentType != "image/png" {
		t.Errorf("%d bytes of %s", len(got), m.ContentType)
	}
	// Without the folder, or with another content, nothing is imported.
	if err := empty(t).take(file); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("without media: %v", err)
	}
	list, err := os.ReadDir(media)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	content[7]++
	if err := os.WriteFile(filepath.Join(media, list[0].Name()), content, 0o600); err != nil {
		t.Fatal(err)
	}
	to = empty(t)
	_, err = archive.Import(t.Context(), bytes.NewReader(file), to.into(new(sent), media))
	if objects, _ := to.Blobs().List(to.ctx, "", "", 10); err == nil || len(objects) != 0 {
		t.Errorf("with another content: %v, %v", err, objects)
	}
	// To a pipe media cannot be written.
	_, err = archive.Export(t.Context(), io.Discard, archive.From{ServerName: "localhost", Source: from, Blobs: from.Blobs(), Now: now})
	if err == nil || !strings.Contains(err.Error(), "name a file") {
		t.Errorf("to a pipe: %v", err)
	}
}

// lines are those of a file, without their ends.
func lines(file []byte) []string {
	return strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
}

// sealed is a file of some lines, with the end that they need.
func sealed(all []string) []byte {
	text := strings.Join(all, "\n") + "\n"
	rows := map[string]int{}
	for _, t := range store.Tables {
		rows[t.Name] = strings.Count(text, `{"table":"`+t.Name+`"`)
	}
	counts, _ := json.Marshal(rows)
	sum := sha256.Sum256([]byte(text))
	return []byte(text + fmt.Sprintf(`{"end":{"rows":%s,"blobs":%d,"rooms":0,"roots":"0000000000000000","sha256":"%s"}}`+"\n",
		counts, strings.Count(text, `{"blob":`), hex.EncodeToString(sum[:])))
}

// pipe cannot be read twice.
type pipe struct{ io.Reader }

func TestDamagedFilesAreRefused(t *testing.T) {
	from := empty(t)
	for i := range 5 {
		from.put(store.Users, "P", fmt.Sprint(i), fields, time.Time{})
	}
	file, _ := from.export("")
	refused := func(what string, file []byte) {
		t.Helper()
		to := empty(t)
		if err := to.take(file); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		if rows := to.rows(); len(rows) != 0 {
			t.Errorf("%s: %d rows were written", what, len(rows))
		}
		// From a pipe some rows are there before it is known; but it is known.
		if _, err := archive.Import(t.Context(), pipe{bytes.NewReader(file)}, empty(t).into(new(sent), "")); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s, from a pipe: %v", what, err)
		}
	}
	for n := 0; n < len(file); n += 13 {
		refused(fmt.Sprintf("%d of %d bytes", n, len(file)), file[:n])
	}
	all := lines(file)
	head := len(all[0]) + 1
	for n := head; n < len(file); n += 29 {
		changed := bytes.Clone(file)
		changed[n] ^= 1
		refused(fmt.Sprintf("byte %d changed", n), changed)
	}
	join := func(l []string) []byte { return []byte(strings.Join(l, "\n") + "\n") }
	refused("a line less", join(slices.Delete(slices.Clone(all), 2, 3)))
	refused("a line twice", join(slices.Insert(slices.Clone(all), 2, all[2])))
	refused("something after the end", append(bytes.Clone(file), "{}\n"...))
	refused("two files", append(bytes.Clone(file), file...))
}

func TestHostileLinesAreRefused(t *testing.T) {
	file, _ := empty(t).export("")
	head := lines(file)[0]
	row := func(part, sort, attrs string) string {
		return `{"table":"users","part":"` + part + `","sort":"` + sort + `","attrs":{` + attrs + `}}`
	}
	long := strings.Repeat("x", 5000)
	for what, line := range map[string]string{
		"no object":                 `[]`,
		"nothing":                   `{}`,
		"two objects":               row("p", "s", "") + row("p", "t", ""),
		"a field that nobody knows": `{"table":"users","part":"p","sort":"s","attrs":{},"more":1}`,
		"another table":             `{"table":"sqlite_master","part":"p","sort":"s","attrs":{}}`,
		"no key":                    row("p", "", ""),
		"a long key":                row(long, "s", ""),
		"a user of another server":  row("U#@a:example.org", "ACCOUNT", ""),
		"no type":                   row("p", "s", `"a":{}`),
		"two types":                 row("p", "s", `"a":{"S":"x","BOOL":true}`),
		"a fraction":                row("p", "s", `"a":{"N":"1.5"}`),
		"a large number":            row("p", "s", `"a":{"N":"9223372036854775808"}`),
		"a number in two spellings": row("p", "s", `"a":{"N":"+1"}`),
		"no base64":                 row("p", "s", `"a":{"B":"?"}`),
		"a reserved name":           row("p", "s", `"ttl":{"N":"1"}`),
		"a strange name":            row("p", "s", `"a b":{"N":"1"}`),
		"a long name":               row("p", "s", `"`+long+`":{"N":"1"}`),
		"a large item":              row("p", "s", `"a":{"S":"`+strings.Repeat("x", store.MaxItemSize)+`"}`),
		"a line without an end":     row("p", "s", `"a":{"S":"`+strings.Repeat("x", 4<<20)+`"}`),
		"no UTF-8":                  row("p", "s\xff", ""),
		"no time":                   `{"table":"users","part":"p","sort":"s","attrs":{},"expires":-1}`,
		"deep":                      row("p", "s", `"a":{"S":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`),
		"a row and a blob":          `{"table":"users","part":"p","sort":"s","attrs":{},"blob":{"key":"k"}}`,
		"a second head":             head,
		"a blob out of the folder":  `{"blob":{"key":"k","content_type":"","size":1,"sha256":"../../../etc/passwd"}}`,
		"an early end":              `{"end":{}}`,
	} {
		to := empty(t)
		if err := to.take(sealed([]string{head, line})); err == nil {
			t.Errorf("%s: imported", what)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
		}
		if rows := to.rows(); len(rows) != 0 {
			t.Errorf("%s: %d rows were written", what, len(rows))
		}
	}
}

func TestFilesThatDoNotFitAreRefused(t *testing.T) {
	file, _ := empty(t).export("")
	other := bytes.Replace(file, []byte(`"server_name":"localhost"`), []byte(`"server_name":"example.org"`), 1)
	if err := empty(t).take(other); err == nil || !strings.Contains(err.Error(), "-server-name example.org") {
		t.Errorf("another server: %v", err)
	}
	newer := bytes.Replace(file, []byte(`"version":1`), []byte(`"version":2`), 1)
	if err := empty(t).take(newer); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer format: %v", err)
	}
	full := empty(t)
	full.put(store.Media, "p", "s", fields, time.Time{})
	if err := full.take(file); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("a store that is not empty: %v", err)
	}
}

// An import that was killed goes on with the same file, and with no other.
func TestImportGoesOn(t *testing.T) {
	from := empty(t)
	for i := range 40 {
		from.put(store.Users, "P", fmt.Sprintf("%03d", i), fields, time.Time{})
	}
	file, _ := from.export("")
	another, _ := from.export("")
	for n := int64(1); ; n++ {
		disk := local.NewMemory()
		o := disk.Options()
		o.Fault = local.KillAt(n, local.KillAfter, nil)
		killed := open(t, o)
		err := killed.take(file)
		killed.Close()
		to := open(t, disk.Crash().Options())
		if err == nil {
			if n < 40 {
				t.Errorf("an import of 40 rows takes %d writes", n)
			}
			return
		}
		if slices.Equal(from.rows(), to.rows()) {
			continue // killed at the very last write, which says that all is there
		}
		if n > 1 {
			if err := to.take(another); err == nil || !strings.Contains(err.Error(), "another file") {
				t.Fatalf("killed at write %d, another file: %v", n, err)
			}
		}
		if err := to.take(file); err != nil {
			t.Fatalf("killed at write %d: %v", n, err)
		}
		if a, b := from.rows(), to.rows(); !slices.Equal(a, b) {
			t.Fatalf("killed at write %d: %d rows have become %d", n, len(a), len(b))
		}
	}
}

// gauge knows the most memory that was in use while it was written to or read.
type gauge struct {
	r    io.Reader
	w    io.Writer
	n    int
	most uint64
}

func (g *gauge) look(n int) {
	if g.n += n; g.n > 2<<20 {
		g.n = 0
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g.most = max(g.most, m.HeapAlloc)
	}
}

func (g *gauge) Write(p []byte) (int, error) { g.look(len(p)); return g.w.Write(p) }
func (g *gauge) Read(p []byte) (int, error)  { g.look(len(p)); return g.r.Read(p) }

// A server of 100 MB needs less than half of that to be moved.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	const rows, budget = 300, 50 << 20
	from := open(t, local.Options{Dir: t.TempDir(), NoSync: true})
	body := bytes.Repeat([]byte("0123456789abcdef"), 350<<10/16)
	for i := range rows {
		from.put(store.Events, fmt.Sprint("EV#", i), "EV", store.Attrs{"b": body}, time.Time{})
	}
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := &gauge{w: f}
	if _, err := archive.Export(t.Context(), out, archive.From{ServerName: "localhost", Source: from, Blobs: from.Blobs(), Now: now}); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() < 100<<20 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	in := &gauge{r: f}
	to := open(t, local.Options{Dir: t.TempDir(), NoSync: true})
	if sum, err := archive.Import(t.Context(), in, to.into(new(sent), "")); err != nil || sum.Total() != rows {
		t.Fatal(sum, err)
	}
	t.Logf("export: at most %d MB; import: %d MB", out.most>>20, in.most>>20)
	if out.most > budget || in.most > budget {
		t.Errorf("at most %d and %d bytes were in use, more than %d", out.most, in.most, budget)
	}
}
