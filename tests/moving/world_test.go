// Package moving proves that a server can be moved: out of a local folder into
// DynamoDB and back, with nobody the wiser.
package moving

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/queue"
)

// moved is a local homeserver inside the test that lives in another folder after
// each restart, and was on DynamoDB meanwhile.
type moved struct {
	t       testing.TB
	cfg     *config.Config
	p       *process.Process
	front   *httptest.Server
	handler atomic.Pointer[http.Handler]
	// onAWS is whether the way leads over DynamoDB.
	onAWS bool
	moves int
}

func start(t testing.TB, onAWS bool, flags ...string) *moved {
	t.Helper()
	args := []string{"-data", filepath.Join(t.TempDir(), "data"), "-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-allow-private-addresses", "-presence", "off"}
	cfg, err := config.Load(config.Input{Args: slices.Concat(args, flags)})
	if err != nil {
		t.Fatal(err)
	}
	m := serve(t, cfg)
	m.onAWS = onAWS
	return m
}

// serve runs the server of a configuration until the test ends.
func serve(t testing.TB, cfg *config.Config) *moved {
	t.Helper()
	m := &moved{t: t, cfg: cfg}
	m.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*m.handler.Load()).ServeHTTP(w, r) }))
	if cfg.PublicBaseURL == "" {
		cfg.PublicBaseURL = m.front.URL
	}
	m.open()
	t.Cleanup(func() {
		m.p.Drain()
		m.front.Close()
		m.close()
	})
	return m
}

func (m *moved) tb() testing.TB { return m.t }

func (m *moved) settled() {
	m.t.Helper()
	if err := m.p.Store.Settled(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// Base implements scripts.Target.
func (m *moved) Base() string { return m.front.URL }

// Restart implements scripts.Target.
func (m *moved) Restart(bool) {
	m.t.Helper()
	m.close()
	m.move()
	m.open()
}

func (m *moved) open() {
	m.t.Helper()
	o := process.Options{Config: m.cfg, Log: slog.New(slog.DiscardHandler)}
	o.Store.NoSync = true
	p, err := process.Open(o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.p = p
	m.handler.Store(&p.Handler)
}

func (m *moved) close() {
	m.t.Helper()
	if err := m.p.Close(); err != nil {
		m.t.Error("close: ", err)
	}
}

// move gives the closed server a new folder.
func (m *moved) move() {
	m.t.Helper()
	ctx := m.t.Context()
	var file bytes.Buffer
	was, err := process.Export(ctx, m.cfg, &file, "")
	if err != nil {
		m.t.Fatal("export: ", err)
	}
	if m.onAWS {
		at := awstest.Options(awstest.DynamoDB(m.t))
		at.Bucket = "" // nobody asks for media yet
		sum, err := importAWS(ctx, at, m.cfg.ServerName, bytes.NewReader(file.Bytes()), new(sent))
		if err != nil {
			m.t.Fatal("import to DynamoDB: ", err)
		}
		same(m.t, was, sum)
		file.Reset()
		if sum, err = exportAWS(ctx, at, m.cfg.ServerName, &file); err != nil {
			m.t.Fatal("export from DynamoDB: ", err)
		}
		// Each user has a log now, if not before.
		sum.Rows["users"] = was.Rows["users"]
		same(m.t, was, sum)
	}
	m.moves++
	m.cfg.Data = filepath.Join(m.t.TempDir(), "data")
	if _, err := process.Import(ctx, m.cfg, bytes.NewReader(file.Bytes()), ""); err != nil {
		m.t.Fatal("import: ", err)
	}
}

// same makes sure that two files hold the same rows and states.
func same(t testing.TB, a, b archive.Summary) {
	t.Helper()
	if a.Rooms != b.Rooms || a.Roots != b.Roots || a.Total() != b.Total() {
		t.Errorf("%+v has become %+v", a, b)
	}
}

func importAWS(ctx context.Context, at aws.Options, server string, r io.Reader, tasks queue.Sender) (archive.Summary, error) {
	return archive.Import(ctx, r, archive.Into{
		ServerName: server, DB: aws.NewDB(at), Source: aws.NewScan(at), Queues: tasks, Blobs: aws.NewBlobs(at), Now: time.Now(),
	})
}

func exportAWS(ctx context.Context, at aws.Options, server string, w io.Writer) (archive.Summary, error) {
	return archive.Export(ctx, w, archive.From{
		ServerName: server, Source: aws.NewScan(at), DB: aws.NewDB(at), Blobs: aws.NewBlobs(at), Now: time.Now(),
	})
}

// sent is a queue that nobody reads.
type sent struct {
	mu     sync.Mutex
	bodies []string
}

// Send implements queue.Sender.
func (s *sent) Send(_ context.Context, _ *queue.Queue, m queue.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, m.Body)
	return nil
}
