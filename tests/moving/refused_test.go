package moving

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
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/tests/server"
)

// without is a file without the rows that match, with the end that it needs then.
func without(t testing.TB, file []byte, drop func(row map[string]any) bool) []byte {
	t.Helper()
	var kept [][]byte
	var end map[string]any
	for line := range bytes.Lines(file) {
		var o map[string]any
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatal(err)
		}
		switch table, _ := o["table"].(string); {
		case o["end"] != nil:
			end = o["end"].(map[string]any)
		case table != "" && drop(o):
		default:
			kept = append(kept, line)
		}
	}
	rows := map[string]int{}
	for name := range end["rows"].(map[string]any) {
		rows[name] = 0
		for _, line := range kept {
			if bytes.HasPrefix(line, []byte(`{"table":"`+name+`"`)) {
				rows[name]++
			}
		}
	}
	text := bytes.Join(kept, nil)
	sum := sha256.Sum256(text)
	end["rows"], end["sha256"] = rows, hex.EncodeToString(sum[:])
	last, err := json.Marshal(map[string]any{"end": end})
	if err != nil {
		t.Fatal(err)
	}
	return append(append(text, last...), '\n')
}

// A file that mixes moments has rooms that are not whole. It is refused, whatever its
// digest says.
func TestRoomsThatAreNotWholeAreRefused(t *testing.T) {
	m := start(t, false)
	alice := m.register("alice")
	room := alice.create()
	last := alice.send(room, "last")
	if err := m.p.Store.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
		t.Fatal(err)
	}
	try := func(drop func(part, sort string) bool) error {
		less := without(t, file.Bytes(), func(row map[string]any) bool { return drop(row["part"].(string), row["sort"].(string)) })
		cfg := *m.cfg
		cfg.Data = filepath.Join(t.TempDir(), "data")
		_, err := process.Import(t.Context(), &cfg, bytes.NewReader(less), "")
		if left, _ := os.ReadDir(filepath.Dir(cfg.Data)); err != nil && len(left) != 0 {
			t.Errorf("%v is left", left)
		}
		return err
	}
	events := ""
	for what, drop := range map[string]func(part, sort string) bool{
		"the state": func(part, _ string) bool { return strings.HasPrefix(part, "R#"+room+"#CH") },
		"the latest event's place": func(part, sort string) bool {
			if part == "R#"+room && strings.HasPrefix(sort, "E#") {
				events = max(events, sort)
			}
			return part == "EV#"+last
		},
	} {
		if err := try(drop); err == nil || !strings.Contains(err.Error(), "one moment") {
			t.Errorf("without %s: %v", what, err)
		}
	}
	if err := try(func(part, sort string) bool { return part == "R#"+room && sort == events }); err == nil || !strings.Contains(err.Error(), "one moment") {
		t.Errorf("without the latest event: %v", err)
	}
	if err := try(func(string, string) bool { return false }); err != nil {
		t.Errorf("with everything: %v", err)
	}
}

// The commands, as an administrator uses them.
func TestCommands(t *testing.T) {
	s := server.Start(t)
	dir := t.TempDir()
	run := func(stdin []byte, args ...string) (out []byte, said string, err error) {
		cmd := exec.Command(server.Binary(t), args...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
		out, err = cmd.Output()
		return out, stderr.String(), err
	}
	refused := func(want string, args ...string) {
		t.Helper()
		if _, said, err := run(nil, args...); err == nil || !strings.Contains(said, want) {
			t.Errorf("%q says %q, %v; want %q", args, said, err, want)
		}
	}
	file := filepath.Join(dir, "file")
	refused("in use by another process", "export", "-data", s.Dir, file)
	s.Stop()
	refused("there is no server in", "export", "-data", dir, file)
	refused("which file", "export", "-data="+s.Dir)
	if _, said, err := run(nil, "export", "-data", s.Dir, file); err != nil || !strings.Contains(said, "exported") {
		t.Fatalf("export: %s, %v", said, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
	refused("already", "export", "-data", s.Dir, file)
	refused("-server-name localhost", "import", "-data", filepath.Join(dir, "other"), "-server-name", "example.org", file)
	refused("is not empty", "import", "-data", s.Dir, file)
	refused("no such file", "import", "-data", filepath.Join(dir, "other"), file+"2")
	piped, said, err := run(nil, "export", "-data", s.Dir, "-")
	if err != nil {
		t.Fatalf("export to a pipe: %s, %v", said, err)
	}
	for i, args := range [][]string{{file}, {"-"}} {
		data := filepath.Join(dir, fmt.Sprint("new", i))
		if _, said, err := run(piped, slices.Concat([]string{"import", "-data", data}, args)...); err != nil || !strings.Contains(said, "imported") {
			t.Fatalf("import: %s, %v", said, err)
		}
		if names, err := filepath.Glob(data + "*"); err != nil || len(names) != 1 {
			t.Errorf("import left %q, %v", names, err)
		}
		server.Start(t, "-data", data).Stop()
	}
}

// What an administrator is told who imports into a stack that is in use.
func TestStacksInUseAreRefused(t *testing.T) {
	m := start(t, false)
	m.register("alice")
	var file bytes.Buffer
	if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
		t.Fatal(err)
	}
	at := awstest.Options(awstest.DynamoDB(t))
	at.Bucket = ""
	for _, want := range []string{"", "empty stores"} {
		_, err := importAWS(t.Context(), at, "localhost", bytes.NewReader(file.Bytes()), new(sent))
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// busy is a scan of tables that somebody writes to.
type busy struct {
	archive.Source
	write func()
}

func (b busy) Items(ctx context.Context, table *store.Table) iter.Seq2[store.Item, error] {
	if table == store.Users {
		b.write()
	}
	return b.Source.Items(ctx, table)
}

func TestStacksThatAreUsedAreNotExported(t *testing.T) {
	m := start(t, false)
	m.register("alice").create()
	var file bytes.Buffer
	if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
		t.Fatal(err)
	}
	at := awstest.Options(awstest.DynamoDB(t))
	at.Bucket = ""
	if _, err := importAWS(t.Context(), at, "localhost", bytes.NewReader(file.Bytes()), new(sent)); err != nil {
		t.Fatal(err)
	}
	db, scan := aws.NewDB(at), aws.NewScan(at)
	_, err := archive.Export(t.Context(), io.Discard, archive.From{
		ServerName: "localhost", DB: db, Blobs: aws.NewBlobs(at), Now: time.Now(),
		Source: busy{scan, func() {
			for it, err := range scan.Items(t.Context(), store.Rooms) {
				if err != nil {
					t.Error(err)
				}
				if it.Key.Sort == timeline.HeadSort {
					if _, err := db.Write(t.Context(), store.Update(store.Rooms, it.Key).Add(timeline.HeadVersion, 1)); err != nil {
						t.Error(err)
					}
				}
			}
		}},
	})
	if err == nil || !strings.Contains(err.Error(), "has moved") {
		t.Errorf("a room that moved meanwhile: %v", err)
	}
}

// An import that was interrupted goes on with its file, and is in the way of another
// one until somebody decides.
func TestInterruptedImportsGoOn(t *testing.T) {
	m := start(t, false)
	alice := m.register("alice")
	room := alice.create()
	var file, another bytes.Buffer
	for _, w := range []io.Writer{&file, &another} {
		if _, err := m.p.Export(t.Context(), w, ""); err != nil {
			t.Fatal(err)
		}
	}
	cfg := *m.cfg
	cfg.Data = filepath.Join(t.TempDir(), "data")
	db, err := local.Open(local.Options{Dir: cfg.Data + ".importing"})
	if err != nil {
		t.Fatal(err)
	}
	half := io.MultiReader(bytes.NewReader(file.Bytes()[:file.Len()/2]), iotest.ErrReader(io.ErrClosedPipe))
	s, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Import(t.Context(), half, archive.Into{
		ServerName: "localhost", DB: db.DB(), Source: s, Queues: db.Queues(), Blobs: db.Blobs(), Now: time.Now(),
	})
	if err == nil {
		t.Fatal("half of a file was imported")
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Import(t.Context(), &cfg, &another, ""); err == nil || !strings.Contains(err.Error(), cfg.Data+".importing") {
		t.Errorf("another file: %v", err)
	}
	if _, err := process.Import(t.Context(), &cfg, &file, ""); err != nil {
		t.Fatal(err)
	}
	again := &client{m: serve(t, &cfg), token: alice.token}
	if len(again.history(room)) == 0 {
		t.Error("the room is empty")
	}
}
