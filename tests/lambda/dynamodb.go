package lambda

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// OnDynamoDB is a homeserver inside the test whose stores are those of AWS.
type OnDynamoDB struct {
	// DB is the store as the server uses it: who writes to it is noticed by the
	// workers of streams, at the end of the next request.
	DB store.DB

	t       testing.TB
	at      aws.Options
	rt      *route.Runtime
	front   *httptest.Server
	mu      sync.Mutex
	handler http.Handler
	flags   []string
}

// StartOnDynamoDB runs a homeserver until the test ends, as -server-name localhost with
// open registration, cheap passwords, no rate limits and no presence, unless the flags
// say otherwise.
func StartOnDynamoDB(t testing.TB, at aws.Options, flags ...string) *OnDynamoDB {
	t.Helper()
	o := &OnDynamoDB{t: t, at: at, flags: flags}
	o.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		h := o.handler
		o.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	o.t.Cleanup(o.front.Close)
	o.Restart(false)
	return o
}

// Base is where the server is.
func (o *OnDynamoDB) Base() string { return o.front.URL }

// RunTimers runs each worker that runs in intervals once.
func (o *OnDynamoDB) RunTimers() {
	o.t.Helper()
	for _, w := range api.Workers() {
		if _, ok := w.On.(route.Every); ok {
			if err := o.rt.RunTimer(context.Background(), w); err != nil {
				o.t.Errorf("worker %s: %v", w.Name, err)
			}
		}
	}
}

// Restart forgets all that a function keeps in memory.
func (o *OnDynamoDB) Restart(bool) {
	args := append([]string{"-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-presence", "off", "-public-baseurl", o.front.URL}, o.flags...)
	cfg, err := config.Load(config.Input{Args: args})
	if err != nil {
		o.t.Fatal(err)
	}
	stream := &writes{DB: aws.NewDB(o.at)}
	if was, ok := o.DB.(*writes); ok {
		stream.changes = was.rest() // a stream outlives those who read it
	}
	waits := aws.HoldInLambda(clock.System{})
	later := new(tasks)
	server, err := home.New(home.Options{
		Config: cfg, DB: stream, Queues: later, Blobs: aws.NewBlobs(o.at), Wake: waits,
		Clock: clock.System{}, Operations: api.Operations(api.Routes()),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	rt := &route.Runtime{
		Server: server, Waiter: waits, Clock: clock.System{}, MaxHold: time.Minute, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if cfg.RateLimits {
		rt.Limits = &route.Limits{Rates: cfg.Rates}
	}
	if cfg.RegistrationToken != "" {
		if err := server.Accounts.EnsureRegistrationToken(o.t.Context(), cfg.RegistrationToken, 0, time.Time{}); err != nil {
			o.t.Fatal(err)
		}
	}
	o.DB, o.rt = stream, rt
	routes := route.Mux(rt, api.Routes())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		routes.ServeHTTP(w, r)
		// The server's own stream is quadratic in what was written; what was
		// written is known here as well.
		ctx := context.WithoutCancel(r.Context())
		for _, worker := range api.Workers() {
			var err error
			switch on := worker.On.(type) {
			case store.ChangeStream:
				err = rt.RunChanges(ctx, worker, stream.take(on.Table))
			case *queue.Queue:
				for _, m := range later.take(on) {
					err = errors.Join(err, rt.RunMessage(ctx, worker, m))
				}
			}
			if err != nil {
				o.t.Errorf("worker %s: %v", worker.Name, err)
			}
		}
	})
}

// tasks are the queues. What is put off is done after the request.
type tasks struct {
	mu   sync.Mutex
	sent map[*queue.Queue][]queue.Message
}

// Send implements queue.Sender.
func (q *tasks) Send(_ context.Context, to *queue.Queue, m queue.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sent == nil {
		q.sent = map[*queue.Queue][]queue.Message{}
	}
	q.sent[to] = append(q.sent[to], m)
	return nil
}

func (q *tasks) take(from *queue.Queue) []queue.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	sent := q.sent[from]
	delete(q.sent, from)
	return sent
}

// writes remembers which items were written.
type writes struct {
	store.DB
	mu      sync.Mutex
	changes []store.Change
}

func (w *writes) took(ws []store.Write, err error) {
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range ws {
		w.changes = append(w.changes, store.Change{Table: one.Table, Key: one.Key})
	}
}

func (w *writes) take(t *store.Table) (taken []store.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rest []store.Change
	for _, c := range w.changes {
		if c.Table == t {
			taken = append(taken, c)
		} else {
			rest = append(rest, c)
		}
	}
	w.changes = rest
	return taken
}

func (w *writes) rest() []store.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes
}

func (w *writes) Write(ctx context.Context, one store.Write) (store.Item, error) {
	it, err := w.DB.Write(ctx, one)
	w.took([]store.Write{one}, err)
	return it, err
}

func (w *writes) Transact(ctx context.Context, ws ...store.Write) error {
	err := w.DB.Transact(ctx, ws...)
	w.took(ws, err)
	return err
}
