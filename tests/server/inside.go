package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/config"
)

// Inside is a homeserver inside the test.
type Inside struct {
	// URL is where the client API is, without a slash at its end.
	URL string
	// Process is the homeserver; Restart replaces it.
	Process *process.Process

	t       testing.TB
	options process.Options
	handler atomic.Pointer[http.Handler]
}

// InProcess runs a homeserver inside the test, with the flags of Start. Before
// it is opened, edit may change the options; it may be nil.
func InProcess(t testing.TB, edit func(*process.Options), flags ...string) *Inside {
	t.Helper()
	cfg, err := config.Load(config.Input{Args: slices.Concat([]string{"-data", t.TempDir()}, defaults, flags)})
	if err != nil {
		t.Fatal(err)
	}
	log := new(tail)
	in := &Inside{t: t, options: process.Options{Config: cfg, Log: slog.New(slog.NewTextHandler(log, nil))}}
	in.options.Store.NoSync = true // nobody pulls the plug here
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*in.handler.Load()).ServeHTTP(w, r)
	}))
	in.URL = front.URL
	if cfg.PublicBaseURL == "" {
		cfg.PublicBaseURL = front.URL
	}
	if edit != nil {
		edit(&in.options)
	}
	in.open()
	t.Cleanup(func() {
		in.Process.Drain()
		front.Close()
		in.close()
		if t.Failed() {
			t.Logf("log of the server:\n%s", log)
		}
	})
	return in
}

// Restart closes the homeserver and opens it again on the same folder.
func (in *Inside) Restart() {
	in.t.Helper()
	in.close()
	in.open()
}

func (in *Inside) open() {
	in.t.Helper()
	p, err := process.Open(in.options)
	if err != nil {
		in.t.Fatal(err)
	}
	in.Process = p
	in.handler.Store(&p.Handler)
}

func (in *Inside) close() {
	in.t.Helper()
	if err := in.Process.Close(); err != nil {
		in.t.Errorf("close the server: %v", err)
	}
}

// Base is URL.
func (in *Inside) Base() string { return in.URL }
