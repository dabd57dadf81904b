// Package process is a homeserver in one process, without its sockets: the
// embedded stores, the domain services, all routes behind one handler, and the
// workers. The command infra/local puts it on listeners, and tests call it.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// MaxHold bounds how long a request waits. Clients ask for half a minute.
const MaxHold = 5 * time.Minute

// Options say what to run. Config and Log are required.
type Options struct {
	Config *config.Config
	Log    *slog.Logger
	// Store is how the stores are opened; its Dir, Clock and Log are filled in
	// where they are empty.
	Store local.Options
	// Adjust, for tests, changes the services before they serve.
	Adjust func(*home.Server)
	// Recorder and OnRequest are for tests (see route.Runtime).
	Recorder  *grant.Recorder
	OnRequest func(name string, status int, took time.Duration, c store.Capacity)
}

// Process is a running homeserver.
type Process struct {
	// Handler answers both APIs.
	Handler http.Handler
	// Store holds everything.
	Store *local.Local

	rt       *route.Runtime
	stop     context.CancelFunc // ends the workers
	work     sync.WaitGroup
	draining context.Context
	drain    context.CancelFunc
}

// Open opens the data folder and starts the workers.
func Open(o Options) (*Process, error) {
	if o.Store.Dir == "" {
		o.Store.Dir = o.Config.Data
	}
	if o.Store.Clock == nil {
		o.Store.Clock = clock.System{}
	}
	if o.Store.Log == nil {
		o.Store.Log = o.Log
	}
	db, err := local.Open(o.Store)
	if err != nil {
		return nil, fmt.Errorf("%w; -data chooses another folder", err)
	}
	if o.Store.FS == nil {
		if err := claim(o.Store.Dir, o.Config.ServerName); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	routes := api.Routes()
	server, err := home.New(home.Options{
		Config: o.Config,
		DB:     db.DB(), Queues: db.Queues(), Blobs: db.Blobs(), Wake: db.Wake(),
		Clock:      o.Store.Clock,
		Operations: api.Operations(routes),
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if o.Adjust != nil {
		o.Adjust(server)
	}
	if file := o.Config.SigningKey; file != "" {
		if err := importKey(server.Keys, file); err != nil {
			return nil, errors.Join(fmt.Errorf("-signing-key: %w", err), db.Close())
		}
	}
	if token := o.Config.RegistrationToken; token != "" {
		ctx := grant.With(context.Background(), "start", accounts.ManagesSessions, nil)
		if err := server.Accounts.EnsureRegistrationToken(ctx, token, 0, time.Time{}); err != nil {
			return nil, errors.Join(fmt.Errorf("-registration-token: %w", err), db.Close())
		}
	}
	p := &Process{Store: db}
	p.draining, p.drain = context.WithCancel(context.Background())
	p.rt = &route.Runtime{
		Server:    server,
		Waiter:    waiter{db.Wake(), p.draining},
		Clock:     o.Store.Clock,
		Log:       o.Log,
		MaxHold:   MaxHold,
		Recorder:  o.Recorder,
		OnRequest: o.OnRequest,
	}
	if o.Config.RateLimits {
		p.rt.Limits = &route.Limits{Rates: o.Config.Rates}
	}
	p.Handler = behindProxies(o.Config.TrustedProxies, route.Mux(p.rt, routes))

	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	for _, w := range api.Workers() {
		p.work.Go(func() {
			if err := p.run(ctx, w); err != nil && ctx.Err() == nil {
				o.Log.ErrorContext(ctx, "worker ended", "worker", w.Name, "error", err)
			}
		})
	}
	return p, nil
}

// importKey makes the key in the file the server's signing key.
func importKey(keys *federation.Keys, file string) error {
	line, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return keys.Import(grant.With(context.Background(), "start", federation.MakesKey, nil), string(line))
}

// serverNameFile holds the server name, in the data folder.
const serverNameFile = "server_name"

// claim writes the server name into the folder, or checks that it is the one of
// all starts: accounts and rooms are of one name, and useless under another.
func claim(dir, serverName string) error {
	file := filepath.Join(dir, serverNameFile)
	b, err := os.ReadFile(file)
	switch was := strings.TrimSpace(string(b)); {
	case errors.Is(err, fs.ErrNotExist), err == nil && was == "": // killed while it was written
		return os.WriteFile(file, []byte(serverName+"\n"), 0o600)
	case err != nil:
		return err
	case was != serverName:
		return fmt.Errorf("the data folder %s is that of the server name %s, not of %s: choose another folder with -data, or keep the name", dir, was, serverName)
	}
	return nil
}

// run runs a worker whenever its trigger fires, until ctx ends.
func (p *Process) run(ctx context.Context, w route.Worker) error {
	switch on := w.On.(type) {
	case store.ChangeStream:
		return p.Store.Follow(ctx, on, w.Name, func(ctx context.Context, cs []store.Change) error {
			return p.rt.RunChanges(ctx, w, cs)
		})
	case *queue.Queue:
		return p.Store.Consume(ctx, on, func(ctx context.Context, ms []queue.Message) error {
			for _, m := range ms {
				if err := p.rt.RunMessage(ctx, w, m); err != nil {
					return err // all of them come again, one by one
				}
			}
			return nil
		})
	case route.Every:
		for {
			select {
			case <-p.rt.Clock.After(time.Duration(on)):
			case <-ctx.Done():
				return nil
			}
			if err := p.rt.RunTimer(ctx, w); err != nil && ctx.Err() == nil {
				p.rt.Log.ErrorContext(ctx, "worker failed", "worker", w.Name, "error", err)
			}
		}
	case route.Life:
		return nil // there is no stack
	}
	return fmt.Errorf("worker %s: nothing here triggers %s", w.Name, w.On)
}

// Drain answers the requests that wait, and lets no other wait.
func (p *Process) Drain() { p.drain() }

// workersGrace is how long workers may take to notice that they are over.
// Beyond it their calls fail as if the process had been killed, which they must
// survive anyway.
const workersGrace = 200 * time.Millisecond

// Close ends the workers and closes the stores. Requests should be over.
func (p *Process) Close() error {
	p.drain()
	p.stop()
	over := make(chan struct{})
	go func() { p.work.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(workersGrace):
	}
	return p.Store.Close()
}

// RunTimers runs each worker that runs in intervals once, for tests that cannot
// wait for it.
func (p *Process) RunTimers(ctx context.Context) error {
	var errs []error
	for _, w := range api.Workers() {
		if _, ok := w.On.(route.Every); ok {
			errs = append(errs, p.rt.RunTimer(ctx, w))
		}
	}
	return errors.Join(errs...)
}
