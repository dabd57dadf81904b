// Package meter has a homeserver that counts what it consumes: units of
// DynamoDB, runs of functions, messages of queues, and bytes. The same acts
// consume the same on every machine.
package meter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// Options are how a metered server differs from one with default flags.
type Options struct {
	// Args are flags of the local process.
	Args []string
	// Waits says who holds a request that waits.
	Waits Waits
	// MaxHold is the longest wait; zero is a minute.
	MaxHold time.Duration
	// Step is how much later each request comes than the one before it; zero is a
	// second.
	Step time.Duration
	// Queued keeps what is sent to queues for Deliver, instead of in a queue of
	// the store that nobody reads.
	Queued bool
}

// Server is the homeserver of infra/local/process in memory, whose workers run
// when they are told to. In the process they run when they like: who moves a
// user's log first, the request or the fan-out, is chance there, and so is what
// each of them reads. The clock too moves only with the requests, so that the
// same acts make the same events, states and units.
type Server struct {
	o      Options
	cfg    *config.Config
	db     *local.Local
	clock  *Clock // the store's
	jumps  *Clock // the services'
	rt     *route.Runtime
	mux    http.Handler
	feeds  []*feed
	cancel context.CancelFunc
	marks  int
	waits  *waitQueues

	requests, work *store.Meter

	mu       sync.Mutex
	calls    []local.Call
	runs     []Run
	messages []queue.Message
	log      counter
}

// A Run is one run of a function: an answer to a request, a batch of changes, a
// message of a queue, or a turn of a timer.
type Run struct {
	// Name is that of the route or worker.
	Name   string
	Worker bool
	store.Capacity
	// In and Out are the bytes of the bodies of a request and its answer.
	In, Out int
	// Sent are the messages that it sent to queues, Waits the calls of the queues
	// where clients wait, and Log the bytes that it logged.
	Sent, Waits, Log int
	// Status is that of the answer to a request.
	Status int
}

// A feed is a worker with the changes that it has not handled.
type feed struct {
	worker route.Worker
	mu     sync.Mutex
	came   *sync.Cond
	list   []store.Change
}

// New starts a server with open registration and without rate limits.
func New(o Options) (*Server, error) {
	cfg, err := config.Load(config.Input{Args: append([]string{
		"-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-public-baseurl", "http://localhost:8008",
	}, o.Args...)})
	if err != nil {
		return nil, err
	}
	if o.Step == 0 {
		o.Step = time.Second
	}
	s := &Server{o: o, cfg: cfg, clock: newClock()}
	s.jumps = s.clock
	if o.Waits != Here {
		s.jumps = &Clock{since: s.clock.since, jumps: true}
	}
	s.waits = &waitQueues{clock: s.jumps, messages: map[string][]time.Time{}}
	lo := local.NewMemory().Options()
	lo.Clock, lo.Log, lo.NoSync = s.clock, slog.New(slog.DiscardHandler), true
	lo.Fault = func(c local.Call) local.Fault {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, c)
		return local.NoFault
	}
	if s.db, err = local.Open(lo); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, w := range api.Workers() {
		stream, ok := w.On.(store.ChangeStream)
		if !ok {
			continue // Deliver and Tick run the others
		}
		f := &feed{worker: w}
		f.came = sync.NewCond(&f.mu)
		s.feeds = append(s.feeds, f)
		go func() {
			_ = s.db.Follow(ctx, stream, w.Name, func(_ context.Context, cs []store.Change) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.list = append(f.list, cs...)
				f.came.Broadcast()
				return nil
			})
		}()
	}
	s.Reset()
	return s, s.Cold()
}

// Close ends the server.
func (s *Server) Close() error { s.cancel(); return s.db.Close() }

// Cold builds the server anew, on the same store: nothing is in its memory, as
// in a function that has just started.
func (s *Server) Cold() error {
	routes := api.Routes()
	// Lines are as on AWS, and their times have a fixed length.
	log := slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: sameLength}))
	waits, err := s.hold(s.o.Waits, log)
	if err != nil {
		return err
	}
	queues := s.db.Queues()
	if s.o.Queued {
		queues = sender{s}
	}
	server, err := home.New(home.Options{
		Config: s.cfg, DB: s.db.DB(), Queues: queues, Blobs: s.db.Blobs(), Wake: waits,
		Clock: s.jumps, Operations: api.Operations(routes),
	})
	if err != nil {
		return err
	}
	hold := s.o.MaxHold
	if hold == 0 {
		hold = time.Minute
	}
	s.rt = &route.Runtime{Server: server, Waiter: waits, Clock: s.jumps, MaxHold: hold, Log: log}
	s.rt.OnRequest = func(name string, status int, _ time.Duration, c store.Capacity) {
		s.ran(Run{Name: name, Status: status, Capacity: c})
	}
	s.mux = route.Mux(s.rt, routes)
	return nil
}

// sameLength makes lines as long on a fast machine as on a slow one.
func sameLength(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "ms") {
		return slog.String(a.Key, map[string]string{slog.TimeKey: "2026-01-01T12:00:00.000000000Z", "ms": "12.345"}[a.Key])
	}
	return a
}

// Pass lets time pass.
func (s *Server) Pass(d time.Duration) { s.clock.step(d) }

// Reset begins to count anew.
func (s *Server) Reset() {
	s.requests, s.work = new(store.Meter), new(store.Meter)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.runs = nil, nil
}

// Consumed is what was consumed since Reset by requests, and by workers.
func (s *Server) Consumed() (requests, work store.Capacity) {
	return s.requests.Total(), s.work.Total()
}

// Runs are the runs of functions since Reset.
func (s *Server) Runs() []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.runs)
}

func (s *Server) ran(r Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, r)
}

// RoundTrip answers a request. It implements http.RoundTripper.
func (s *Server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.clock.step(s.o.Step)
	if next, ok := s.step(req.URL.Path); ok {
		s.ran(Run{Name: GatewayStep, Status: http.StatusTemporaryRedirect, Waits: 1})
		return &http.Response{
			StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {next}}, Body: http.NoBody, Request: req,
		}, nil
	}
	req = req.Clone(store.WithMeter(req.Context(), s.requests))
	if req.RemoteAddr == "" {
		req.RemoteAddr = "192.0.2.1:1"
	}
	if req.Body == nil {
		req.Body = io.NopCloser(strings.NewReader(""))
	}
	in := &counter{}
	req.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(req.Body, in), req.Body}
	before, sent, waits, logged := len(s.Runs()), s.queued(), s.waits.count(), s.log.count()
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, req)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.runs) > before { // no route answers what is not declared
		r := &s.runs[before]
		r.In, r.Out, r.Sent, r.Log = in.count(), w.Body.Len(), len(s.messages)-sent, s.log.count()-logged
		r.Waits = s.waits.count() - waits
	}
	return w.Result(), nil
}

// Settle lets the workers of changes do what the requests left to them.
func (s *Server) Settle() error {
	ctx := grant.With(context.Background(), "bench", grant.WriteTable("rooms"), nil)
	for again := true; again; {
		again = false
		// Whatever was written before the mark has come when the mark comes.
		s.marks++
		mark := store.Key{Part: "BENCH", Sort: fmt.Sprint(s.marks)}
		if _, err := s.db.DB().Write(ctx, store.Put(store.Rooms, mark, store.Attrs{})); err != nil {
			return err
		}
		for _, f := range s.feeds {
			if f.worker.On != store.Rooms.Changes() {
				return fmt.Errorf("the worker %s follows %s; the meter knows only the rooms table", f.worker.Name, f.worker.On)
			}
			cs := slices.DeleteFunc(f.upTo(mark), func(c store.Change) bool { return c.Key.Part == mark.Part })
			if len(cs) == 0 {
				continue
			}
			again = true
			if err := s.worker(f.worker, func(ctx context.Context) error { return s.rt.RunChanges(ctx, f.worker, cs) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feed) upTo(mark store.Key) []store.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.list) == 0 || f.list[len(f.list)-1].Key != mark {
		f.came.Wait()
	}
	cs := f.list
	f.list = nil
	return cs
}

// Deliver settles and runs the workers of queues, until nothing is left. A
// message comes when its delay is over, and alone.
func (s *Server) Deliver() error { return s.DeliverWithin(math.MaxInt64) }

// DeliverWithin is Deliver of what has no longer delay; the rest is left.
func (s *Server) DeliverWithin(delay time.Duration) error {
	for {
		if err := s.Settle(); err != nil {
			return err
		}
		s.mu.Lock()
		i := slices.IndexFunc(s.messages, func(m queue.Message) bool { return m.Delay <= delay })
		if i < 0 {
			s.mu.Unlock()
			return nil
		}
		m := s.messages[i]
		s.messages = slices.Delete(s.messages, i, i+1)
		s.mu.Unlock()
		m.Attempt = 1
		s.clock.step(m.Delay)
		for _, w := range api.Workers() {
			if w.On != queue.Work {
				continue
			}
			if err := s.worker(w, func(ctx context.Context) error { return s.rt.RunMessage(ctx, w, m) }); err != nil {
				return err
			}
		}
	}
}

// Tick runs each worker that has a timer once.
func (s *Server) Tick() error {
	for _, w := range api.Workers() {
		if _, ok := w.On.(route.Every); !ok {
			continue
		}
		if err := s.worker(w, func(ctx context.Context) error { return s.rt.RunTimer(ctx, w) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) worker(w route.Worker, run func(context.Context) error) error {
	var own store.Meter
	sent, waits, logged := s.queued(), s.waits.count(), s.log.count()
	err := run(store.WithMeter(store.WithMeter(context.Background(), s.work), &own))
	s.ran(Run{Name: w.Name, Worker: true, Capacity: own.Total(),
		Sent: s.queued() - sent, Waits: s.waits.count() - waits, Log: s.log.count() - logged})
	return err
}

// sender keeps what is sent.
type sender struct{ s *Server }

// Send implements queue.Sender.
func (q sender) Send(ctx context.Context, to *queue.Queue, m queue.Message) error {
	if to != queue.Work {
		return fmt.Errorf("the meter has no worker of the %s", to)
	}
	if err := errors.Join(grant.Check(ctx, grant.Queue, to.Name, grant.Send), ctx.Err()); err != nil {
		return err
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.s.messages = append(q.s.messages, m)
	return nil
}

func (s *Server) queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// Explain lists the tables and the calls since Reset.
func (s *Server) Explain() string {
	var b strings.Builder
	for _, part := range []struct {
		name  string
		meter *store.Meter
	}{{"request", s.requests}, {"workers", s.work}} {
		tables := part.meter.Tables()
		for _, t := range slices.Sorted(maps.Keys(tables)) {
			fmt.Fprintf(&b, "  %s, %s: %s\n", part.name, t, tables[t])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if text := describe(c); !strings.Contains(text, "BENCH") && c.Op != local.OpCursor {
			fmt.Fprintf(&b, "    %s\n", text)
		}
	}
	return b.String()
}

func describe(c local.Call) string {
	s := string(c.Op) + " " + c.Name
	for _, r := range c.Refs {
		if r.Table != nil { // a queue has none
			s += fmt.Sprintf(" [%s %s]", r.Table.Name, r.Key)
		}
	}
	return s
}

// counter counts what is written.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += len(b)
	return len(b), nil
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
