package model

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// speed is by how much the server's time is faster than the machine's: receipts
// are told after seconds, and somebody types for a minute.
const speed = 10

// fast is a clock that runs, and that a test moves on.
type fast struct {
	start time.Time
	ahead atomic.Int64
}

func (f *fast) Now() time.Time {
	return f.start.Round(0).UTC().Add(speed*time.Since(f.start) + time.Duration(f.ahead.Load()))
}
func (f *fast) After(d time.Duration) <-chan time.Time { return time.After(d / speed) }
func (f *fast) pass(d time.Duration)                   { f.ahead.Add(int64(d)) }

// world is a homeserver on a disk that can crash.
type world struct {
	t     *testing.T
	ctx   context.Context
	seed  uint64
	plan  plan
	clock *fast
	log   *locked
	// known are the rooms that devices know of, and receipts what was asked for.
	known    known
	receipts receiptBook
	month    bool // has passed, and more is forgotten than that
	outage   bool // for a day nothing was done that was to be done

	mu   sync.RWMutex // read-held by requests
	disk *local.Memory
	life *life
}

// plan is how bad the world is to a server.
type plan struct {
	throttle, conflict float64 // of all calls
	killEvery          int64   // writes between two kills, on average; 0 is none
	lose, lag, shuffle bool
	pullAbove          int  // 0 is as the server has it
	churn              bool // people come and go all the time, in few rooms
	acts               int  // what each device does in a phase
}

func planOf(seed uint64) plan {
	p := plan{throttle: 0.002, conflict: 0.004, killEvery: 1500, shuffle: seed%2 == 0, lose: seed%4 == 2, lag: seed%3 == 1}
	if seed%4 == 3 {
		p.throttle, p.conflict = 0.02, 0.02
	}
	if seed%5 == 4 {
		p.killEvery = 0
	}
	if seed%3 == 2 {
		p.pullAbove = 4 // then rooms are pulled
	}
	p.acts = 25
	if p.churn = seed%7 == 5; p.churn {
		p.acts = 70 // a cursor does not keep as many memberships as there are then
	}
	return p
}

// life is the server between two kills: several processes over the same store, of
// which the first does the work that nobody waits for.
type life struct {
	proc    *process.Process
	homes   []http.Handler
	server  *home.Server // of the last of homes
	faulty  atomic.Bool
	killing atomic.Int64 // writes until the kill; 0 is never
	after   bool         // the kill is after the write
	killed  chan struct{}
}

const processes = 3

func newWorld(t *testing.T, seed uint64) *world {
	var names []string
	for _, t := range store.Tables {
		names = append(names, t.Name)
	}
	w := &world{
		t: t, seed: seed, plan: planOf(seed), clock: &fast{start: time.Now()}, disk: local.NewMemory(), log: new(locked),
		ctx: grant.With(context.Background(), "test", grant.Of(grant.ReadTable(names...), grant.WriteTable(names...)), nil),
	}
	w.receipts.all, w.receipts.unsure = map[receiptID][]string{}, map[receiptID]bool{}
	w.life = w.open(0)
	return w
}

// open starts the server on the disk as it is. n counts the lives.
func (w *world) open(n uint64) *life {
	l := &life{killed: make(chan struct{})}
	r := rand.New(rand.NewPCG(w.seed, 1000+n))
	if w.plan.killEvery > 0 {
		l.killing.Store(1 + r.Int64N(2*w.plan.killEvery))
		l.after = r.IntN(2) == 0
	}
	var mu sync.Mutex
	chance := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
	opt := w.disk.Options()
	opt.Clock, opt.Log, opt.RetryAfter, opt.SweepEvery = w.clock, slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelWarn})), 20*time.Millisecond, 10*time.Second
	opt.Shuffle, opt.Rand = w.plan.shuffle, rand.New(rand.NewPCG(w.seed, 2000+n))
	if w.plan.lag {
		opt.Lag = 200 * time.Millisecond
	}
	if w.plan.lose {
		opt.Lose = func(store.Change) bool { return l.faulty.Load() && chance() < 0.1 }
	}
	opt.Fault = func(c local.Call) local.Fault {
		if !l.faulty.Load() {
			return local.NoFault
		}
		if c.Writes && l.killing.Add(-1) == 0 {
			close(l.killed)
			if l.after {
				return local.KillAfter
			}
			return local.KillBefore
		}
		switch p := chance(); {
		case p < w.plan.throttle:
			return local.Throttle
		case p < w.plan.throttle+w.plan.conflict:
			return local.Conflict
		}
		return local.NoFault
	}
	cfg := config.Default()
	cfg.ServerName, cfg.Registration, cfg.PasswordCost, cfg.RateLimits = "test", config.RegistrationOpen, config.PasswordCostMin, false
	adjust := func(s *home.Server) {
		if w.plan.pullAbove > 0 {
			s.Rooms.PullAbove = w.plan.pullAbove
		}
	}
	p, err := process.Open(process.Options{Config: &cfg, Log: opt.Log, Store: opt, Adjust: adjust})
	if err != nil {
		w.t.Fatal(err)
	}
	l.proc, l.homes = p, []http.Handler{p.Handler}
	routes := api.Routes()
	for len(l.homes) < processes {
		l.server, err = home.New(home.Options{
			Config: &cfg, DB: p.Store.DB(), Queues: p.Store.Queues(), Blobs: p.Store.Blobs(), Wake: p.Store.Wake(),
			Clock: w.clock, Operations: api.Operations(routes),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		adjust(l.server)
		l.homes = append(l.homes, route.Mux(&route.Runtime{Server: l.server, Waiter: p.Store.Wake(), Clock: w.clock, Log: opt.Log}, routes))
	}
	return l
}

// restart kills the server, if it is not dead, and starts it again on what was
// synced to the disk. Requests that are under way get no answer.
func (w *world) restart(n uint64, faulty bool) {
	w.mu.RLock()
	w.life.proc.Store.Kill()
	w.mu.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.life.proc.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.disk = w.disk.Crash()
	w.life = w.open(n)
	w.life.faulty.Store(faulty)
}

// quiet waits until the workers have nothing to do, those included that wait for a
// while.
func (w *world) quiet() {
	w.t.Helper()
	settle := func() {
		ctx, cancel := context.WithTimeout(w.ctx, 60*time.Second)
		defer cancel()
		if err := w.life.proc.Store.Settled(ctx); err != nil {
			w.fatalf("the workers do not settle: %v", err)
		}
	}
	settle()
	if w.plan.lose {
		w.clock.pass(2 * time.Hour)
		if err := w.life.proc.RunTimers(w.ctx); err != nil {
			w.fatalf("timers: %v", err)
		}
		settle()
	}
	// Receipts are told a few seconds after they were set, and nobody types for
	// longer than these.
	for range 4 {
		<-w.clock.After(4 * time.Second)
		settle()
	}
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s\nlog:\n%s", w.seed, fmt.Sprintf(format, args...), w.log.tail())
}

// locked is a log that several goroutines write.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *locked) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-1500):])
}

// answer is what a client gets for a request.
type answer struct {
	status int
	body   []byte
}

func (a answer) ok() bool { return a.status == http.StatusOK }

func (a answer) into(v any) error { return json.Unmarshal(a.body, v) }

func (a answer) code() string {
	var e struct{ Errcode string }
	_ = a.into(&e)
	return e.Errcode
}

// once makes a request to the process, and reports false if the client has to
// repeat it: the server failed, or broke off in the middle of its answer.
func (w *world) once(process int, token, method, path string, body []byte) (a answer, answered bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	req := httptest.NewRequestWithContext(context.Background(), method, path, bytes.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	w.life.homes[process].ServeHTTP(rec, req)
	return answer{rec.Code, rec.Body.Bytes()}, rec.Code < 500
}
