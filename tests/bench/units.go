package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// A meteredServer is the homeserver of infra/local/process in memory, whose
// workers run when they are told to. In the process they run when they like: who
// moves a user's log first, the request or the fan-out, is chance there, and so
// is what each of them reads. The clock too moves only with the requests, so
// that the same acts make the same events, states and units.
type meteredServer struct {
	cfg    *config.Config
	db     *local.Local
	clock  *stepClock
	rt     *route.Runtime
	mux    http.Handler
	feeds  []*feed
	cancel context.CancelFunc
	marks  int

	// requests counts what the requests consume, and work the workers.
	requests, work *store.Meter

	mu    sync.Mutex
	calls []string
}

// A feed is a worker with the changes that it has not handled.
type feed struct {
	worker route.Worker
	mu     sync.Mutex
	came   *sync.Cond
	list   []store.Change
}

func newMeteredServer() (*meteredServer, error) {
	cfg, err := config.Load(config.Input{Args: []string{
		"-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-public-baseurl", "http://localhost:8008",
	}})
	if err != nil {
		return nil, err
	}
	m := &meteredServer{cfg: cfg, clock: new(stepClock)}
	o := local.NewMemory().Options()
	o.Clock, o.Log, o.NoSync = m.clock, slog.New(slog.DiscardHandler), true
	o.Fault = func(c local.Call) local.Fault {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls = append(m.calls, describe(c))
		return local.NoFault
	}
	if m.db, err = local.Open(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	for _, w := range api.Workers() {
		stream, ok := w.On.(store.ChangeStream)
		if !ok {
			continue // not part of an act, or not before long
		}
		f := &feed{worker: w}
		f.came = sync.NewCond(&f.mu)
		m.feeds = append(m.feeds, f)
		go func() {
			_ = m.db.Follow(ctx, stream, w.Name, func(_ context.Context, cs []store.Change) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.list = append(f.list, cs...)
				f.came.Broadcast()
				return nil
			})
		}()
	}
	m.reset()
	return m, m.cold()
}

func (m *meteredServer) close() error { m.cancel(); return m.db.Close() }

// cold builds the server anew, on the same store: nothing is in its memory, as
// in a function that has just started.
func (m *meteredServer) cold() error {
	routes := api.Routes()
	server, err := home.New(home.Options{
		Config: m.cfg, DB: m.db.DB(), Queues: m.db.Queues(), Blobs: m.db.Blobs(), Wake: m.db.Wake(),
		Clock: m.clock, Operations: api.Operations(routes),
	})
	if err != nil {
		return err
	}
	m.rt = &route.Runtime{
		Server: server, Waiter: m.db.Wake(), Clock: m.clock, Log: slog.New(slog.DiscardHandler), MaxHold: time.Minute,
	}
	m.mux = route.Mux(m.rt, routes)
	return nil
}

// reset begins to count anew.
func (m *meteredServer) reset() {
	m.requests, m.work = new(store.Meter), new(store.Meter)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = nil
}

// RoundTrip answers a request of the site's client.
func (m *meteredServer) RoundTrip(req *http.Request) (*http.Response, error) {
	m.clock.step()
	req = req.Clone(store.WithMeter(req.Context(), m.requests))
	req.RemoteAddr = "192.0.2.1:1"
	if req.Body == nil {
		req.Body = io.NopCloser(strings.NewReader(""))
	}
	w := httptest.NewRecorder()
	m.mux.ServeHTTP(w, req)
	return w.Result(), nil
}

// settle lets the workers do what the requests left to them.
func (m *meteredServer) settle() error {
	ctx := grant.With(context.Background(), "bench", grant.WriteTable("rooms"), nil)
	for again := true; again; {
		again = false
		// Whatever was written before the mark has come when the mark comes.
		m.marks++
		mark := store.Key{Part: "BENCH", Sort: fmt.Sprint(m.marks)}
		if _, err := m.db.DB().Write(ctx, store.Put(store.Rooms, mark, store.Attrs{})); err != nil {
			return err
		}
		for _, f := range m.feeds {
			if f.worker.On != store.Rooms.Changes() {
				return fmt.Errorf("the worker %s follows %s; the benchmark knows only the rooms table", f.worker.Name, f.worker.On)
			}
			cs := slices.DeleteFunc(f.upTo(mark), func(c store.Change) bool { return c.Key.Part == mark.Part })
			if len(cs) == 0 {
				continue
			}
			again = true
			if err := m.rt.RunChanges(store.WithMeter(context.Background(), m.work), f.worker, cs); err != nil {
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

// consumed is what was consumed since reset.
func (m *meteredServer) consumed() cost {
	r, w := m.requests.Total(), m.work.Total()
	return cost{r.Reads, r.Writes, w.Reads, w.Writes}
}

// A consumption is what an act consumes, and how.
type consumption struct {
	warm, cold cost
	// explanation says which tables and calls the units of the warm one are of.
	explanation string
}

// warmUps is how often an act is done before it is counted; tries is how often
// it is counted. The cheapest counts: each 64th entry of a log also moves a
// hint, and that is not what the others cost.
const warmUps, tries = 2, 3

// consume measures the units of an act on a server of its own.
func consume(a *act) (c consumption, err error) {
	m, err := newMeteredServer()
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	s := &site{url: "http://localhost:8008", http: http.Client{Transport: m}, settle: m.settle}
	do, err := a.lane(s, warmUps+tries+1)
	if err != nil {
		return c, fmt.Errorf("prepare %s: %w", a.name, err)
	}
	if err := m.settle(); err != nil {
		return c, err
	}
	for i := range warmUps + tries + 1 {
		last := i == warmUps+tries
		if last {
			if err := m.cold(); err != nil {
				return c, err
			}
		}
		m.reset()
		if _, err := do(i); err != nil {
			return c, fmt.Errorf("%s: %w", a.name, err)
		}
		if err := m.settle(); err != nil {
			return c, err
		}
		switch now := m.consumed(); {
		case last:
			c.cold = now
		case i == warmUps, i > warmUps && now.sum() < c.warm.sum():
			c.warm, c.explanation = now, m.explain()
		}
	}
	return c, nil
}

func (c cost) sum() float64 { return c.reads + c.writes + c.workReads + c.workWrites }

// explain lists the tables and the calls since reset.
func (m *meteredServer) explain() string {
	var b strings.Builder
	for _, part := range []struct {
		name  string
		meter *store.Meter
	}{{"request", m.requests}, {"workers", m.work}} {
		tables := part.meter.Tables()
		for _, t := range slices.Sorted(maps.Keys(tables)) {
			fmt.Fprintf(&b, "  %s, %s: %s\n", part.name, t, tables[t])
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		if !strings.Contains(c, "BENCH") && !strings.HasPrefix(c, string(local.OpCursor)) {
			fmt.Fprintf(&b, "    %s\n", c)
		}
	}
	return b.String()
}

func describe(c local.Call) string {
	s := string(c.Op) + " " + c.Name
	for _, r := range c.Refs {
		s += fmt.Sprintf(" [%s %s]", r.Table.Name, r.Key)
	}
	return s
}

// stepClock tells the same time until it is stepped. It waits in real time.
type stepClock struct{ steps atomic.Int64 }

func (c *stepClock) step() { c.steps.Add(1) }

func (c *stepClock) Now() time.Time {
	return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.steps.Load()) * time.Second)
}

func (c *stepClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
