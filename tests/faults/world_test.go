// Package faults kills the homeserver between any two calls of its stores, again
// and again, and looks at what is left: all of what was asked for or nothing, and
// each event delivered once to everybody.
//
// Only calls that write are counted. Reads leave nothing behind, so to be killed
// before a read is to be killed after the write before it, with the difference
// of what the client was told, and nothing is told before the last write.
package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
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

// ahead is the machine's clock, moved on by the test. Waits take their time.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time                         { return time.Now().UTC().Add(time.Duration(a.by.Load())) }
func (a *ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (a *ahead) pass(d time.Duration)                   { a.by.Add(int64(d)) }

// world is a homeserver on a disk that can crash, and its clients.
type world struct {
	t     *testing.T
	ctx   context.Context
	clock *ahead
	disk  *local.Memory
	proc  *process.Process
	other http.Handler         // another process on the same stores, as functions are
	edit  func(*local.Options) // of every opening
	// large is how many active members a room has that is not pulled.
	large int
	log   *locked

	mu      sync.Mutex
	parts   map[store.Ref]bool // partitions that were ever written; the sort keys are empty
	last    local.Call         // the newest write, for the messages
	armed   bool               // faults happen
	follows chan struct{}      // a worker has handled changes
	clients map[string]*client
	vars    map[string]string // what the clients of a story learnt, such as room ids
}

// client is a user's device. What it knows survives the server.
type client struct {
	w     *world
	name  string
	user  string
	token string
	since string
	// elsewhere lets the other process answer.
	elsewhere bool
	// saw are the events of timelines in the order of their delivery, by room,
	// since the client began to watch.
	saw map[string][]string
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, ctx: everything(t.Context()), clock: new(ahead), disk: local.NewMemory(),
		parts: map[store.Ref]bool{}, clients: map[string]*client{}, vars: map[string]string{},
	}
}

func everything(ctx context.Context) context.Context {
	var names []string
	for _, t := range store.Tables {
		names = append(names, t.Name)
	}
	return grant.With(ctx, "test", grant.Of(grant.ReadTable(names...), grant.WriteTable(names...), grant.Wakes()), nil)
}

// clone returns the world as it is on the disk, with clients that know the same.
// It is not running.
func (w *world) clone(t *testing.T) *world {
	c := newWorld(t)
	c.disk, c.large = w.disk.Crash(), w.large
	c.clock.by.Store(w.clock.by.Load())
	for p := range w.parts {
		c.parts[p] = true
	}
	for k, v := range w.vars {
		c.vars[k] = v
	}
	for name, x := range w.clients {
		y := *x
		y.w, y.saw = c, map[string][]string{}
		for room, ids := range x.saw {
			y.saw[room] = slices.Clone(ids)
		}
		c.clients[name] = &y
	}
	return c
}

// open starts the server. fault may be nil, and is asked only once the world is
// armed.
func (w *world) open(fault func(local.Call) local.Fault) {
	w.t.Helper()
	cfg := config.Default()
	cfg.ServerName, cfg.Registration, cfg.PasswordCost, cfg.RateLimits = "test", config.RegistrationOpen, config.PasswordCostMin, false
	cfg.Presence = false // its tasks are put off by the clock that the stories move on
	w.log = new(locked)
	log := slog.New(slog.NewTextHandler(w.log, nil))
	opt := w.disk.Options()
	opt.Clock, opt.Log, opt.RetryAfter = w.clock, log, time.Millisecond
	if w.edit != nil {
		w.edit(&opt)
	}
	opt.Fault = func(c local.Call) local.Fault {
		if c.Op == local.OpCursor {
			select {
			case w.follows <- struct{}{}:
			default:
			}
		}
		w.mu.Lock()
		armed := w.armed
		w.mu.Unlock()
		if c.Writes {
			w.mu.Lock()
			w.last = c
			for _, r := range c.Refs {
				w.parts[store.Ref{Table: r.Table, Key: store.Key{Part: r.Key.Part}}] = true
			}
			w.mu.Unlock()
		}
		if fault != nil && armed {
			return fault(c)
		}
		return local.NoFault
	}
	w.armed, w.follows = false, make(chan struct{}, 1)
	adjust := func(s *home.Server) {
		if w.large > 0 {
			s.Rooms.PullAbove = w.large
		}
	}
	p, err := process.Open(process.Options{Config: &cfg, Log: log, Store: opt, Adjust: adjust})
	if err != nil {
		w.t.Fatal(err)
	}
	w.proc = p
	routes := api.Routes()
	server, err := home.New(home.Options{
		Config: &cfg, DB: p.Store.DB(), Queues: p.Store.Queues(), Blobs: p.Store.Blobs(), Wake: p.Store.Wake(),
		Clock: w.clock, Operations: api.Operations(routes),
	})
	w.ok(err)
	adjust(server)
	w.other = route.Mux(&route.Runtime{Server: server, Waiter: p.Store.Wake(), Clock: w.clock, Log: log}, routes)
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

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// close ends the process as a kill would: what was not acknowledged may be lost.
func (w *world) close() {
	w.t.Helper()
	w.proc.Store.Kill()
	if err := w.proc.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.disk = w.disk.Crash()
}

// restart is close, and open without faults.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open(nil)
}

// ready waits until the workers work, and have nothing to do.
func (w *world) ready() {
	w.t.Helper()
	// Who does not follow yet is not waited for, so one must be seen to.
	_, err := w.proc.Store.DB().Write(w.ctx, store.Put(store.Rooms, store.Key{Part: "TEST", Sort: "TEST"}, nil))
	w.ok(err)
	select {
	case <-w.follows:
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no worker follows; log:\n%s", w.log)
	}
	w.settle()
}

// arm lets the faults begin.
func (w *world) arm() {
	w.ready()
	w.mu.Lock()
	w.armed = true
	w.mu.Unlock()
}

// disarm ends the faults.
func (w *world) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
}

// settle waits until the workers have nothing to do. It reports false if the
// process was killed before.
func (w *world) settle() bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	err := w.proc.Store.Settled(ctx)
	if ctx.Err() != nil {
		w.t.Fatalf("the workers do not settle; log:\n%s", w.log)
	}
	return err == nil
}

// sweep runs what runs in intervals, an age later.
func (w *world) sweep() {
	w.t.Helper()
	w.clock.pass(2 * time.Hour)
	if err := w.proc.RunTimers(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what a client got. Status 0 is nothing: the server died.
type answer struct {
	status int
	body   map[string]any
}

func (a answer) str(name string) string { s, _ := a.body[name].(string); return s }
func (a answer) is(code string) bool    { return a.str("errcode") == code }

// do makes a request. A server that was killed meanwhile answers nothing.
func (c *client) do(method, path string, body any) answer {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	req := httptest.NewRequestWithContext(c.w.ctx, method, path, bytes.NewReader(b))
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	rec := httptest.NewRecorder()
	if c.elsewhere {
		c.w.other.ServeHTTP(rec, req)
	} else {
		c.w.proc.Handler.ServeHTTP(rec, req)
	}
	a := answer{status: rec.Code}
	_ = json.Unmarshal(rec.Body.Bytes(), &a.body)
	if a.status >= 500 {
		return answer{body: a.body}
	}
	return a
}

// errDied is the error of a step that got no answer.
var errDied = errors.New("no answer")

// must makes a request that is answered with 200, or not at all, which is
// errDied. Codes are those errors with which a repeated request is answered if
// the first one was done.
func (c *client) must(method, path string, body any, codes ...string) (answer, error) {
	a := c.do(method, path, body)
	switch {
	case a.status == 0:
		return a, errDied
	case a.status != http.StatusOK && !slices.ContainsFunc(codes, a.is):
		return a, fmt.Errorf("%s %s of %s: %d %v", method, path, c.name, a.status, a.body)
	}
	return a, nil
}

// register makes an account as part of a prelude.
func (w *world) register(names ...string) {
	w.t.Helper()
	for _, name := range names {
		c := w.client(name)
		a, err := c.must("POST", "/_matrix/client/v3/register", map[string]any{
			"username": name, "password": "a password", "auth": map[string]string{"type": "m.login.dummy"},
		})
		w.ok(err)
		c.user, c.token = a.str("user_id"), a.str("access_token")
	}
}

func (w *world) client(name string) *client {
	c := w.clients[name]
	if c == nil {
		c = &client{w: w, name: name, user: "@" + name + ":test", saw: map[string][]string{}}
		w.clients[name] = c
	}
	return c
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func roomPath(room, rest string) string {
	return "/_matrix/client/v3/rooms/" + url.PathEscape(room) + "/" + rest
}

// create makes a room and keeps its id in a variable. A repeated request for an
// alias that the first one took finds the room by it.
func (c *client) create(variable string, body map[string]any) error {
	a, err := c.must("POST", "/_matrix/client/v3/createRoom", body, "M_ROOM_IN_USE")
	if err != nil {
		return err
	}
	room := a.str("room_id")
	if room == "" {
		a, err := c.must("GET", "/_matrix/client/v3/directory/room/"+url.PathEscape(fmt.Sprintf("#%s:test", body["room_alias_name"])), nil)
		if err != nil {
			return err
		}
		room = a.str("room_id")
	}
	c.w.vars[variable] = room
	return nil
}

func (c *client) send(room, txn, text string) (event string, err error) {
	a, err := c.must("PUT", roomPath(room, "send/m.room.message/"+txn), map[string]string{"msgtype": "m.text", "body": text})
	return a.str("event_id"), err
}

// sync reads what is new and keeps what it saw.
func (c *client) sync() error {
	q := url.Values{"filter": {`{"room":{"timeline":{"limit":400}}}`}, "timeout": {"0"}}
	if c.since != "" {
		q.Set("since", c.since)
	}
	a, err := c.must("GET", "/_matrix/client/v3/sync?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	c.since = a.str("next_batch")
	rooms, _ := a.body["rooms"].(map[string]any)
	for _, section := range []string{"join", "leave"} {
		in, _ := rooms[section].(map[string]any)
		for room, v := range in {
			timeline, _ := v.(map[string]any)["timeline"].(map[string]any)
			events, _ := timeline["events"].([]any)
			for _, e := range events {
				c.saw[room] = append(c.saw[room], e.(map[string]any)["event_id"].(string))
			}
		}
	}
	return nil
}

// watch forgets what the client saw and begins to count: from now on it must see
// each event once.
func (c *client) watch() {
	c.w.t.Helper()
	c.since, c.saw = "", map[string][]string{}
	c.w.ok(c.sync())
}

// syncAll lets all clients that watch read what is new.
func (w *world) syncAll() {
	w.t.Helper()
	for _, c := range w.clients {
		if c.since != "" {
			w.ok(c.sync())
		}
	}
}

// step is one thing that a client does. After errDied it is done again.
type step func(w *world) error

// run makes the steps from the given one on, until one gets no answer, and
// returns which one is next.
func (w *world) run(steps []step, from int) int {
	w.t.Helper()
	for i, s := range steps[from:] {
		if err := s(w); err != nil {
			if err != errDied {
				w.t.Fatal(err)
			}
			return from + i
		}
	}
	return len(steps)
}

// story is a prelude, which no fault disturbs, and what happens under faults.
type story struct {
	name  string
	setup func(w *world)
	steps []step
	large int // see world
	// after checks what came of it, beyond what is true of every world.
	after func(w *world)
}

// writes matches every write, those of the workers' cursors included.
func writes(c local.Call) bool { return c.Writes }

// killEverywhere runs the story with a kill at its first write, at its second,
// and so on, until it comes to its end without one.
func killEverywhere(t *testing.T, s story) {
	base := newWorld(t)
	base.large = s.large
	base.open(nil)
	s.setup(base)
	base.ready()
	base.check()
	base.close()
	kills := 0
	for _, fault := range []local.Fault{local.KillBefore, local.KillAfter} {
		// How many writes there are depends on how the workers' batches fall, so one
		// story that ends in peace is not the end.
		peaceful := 0
		stride := int64(1)
		if testing.Short() {
			stride = 3 // for the race detector, which needs no place in particular
		}
		for n := int64(1); peaceful < 3; n += stride {
			if base.killAt(t, s, n, fault) {
				peaceful++
			} else {
				peaceful, kills = 0, kills+1
			}
			if t.Failed() {
				t.Fatalf("%s: kill %d at write %d", s.name, fault, n)
			}
		}
	}
	t.Logf("%s: killed at %d places", s.name, kills)
}

// killAt runs the story in a copy of the world. It reports true if it was over
// before the kill.
func (w *world) killAt(t *testing.T, s story, n int64, fault local.Fault) (over bool) {
	w = w.clone(t)
	w.open(local.KillAt(n, fault, writes))
	w.arm()
	defer func() { w.close() }()
	next := w.run(s.steps, 0)
	over = w.settle() && next == len(s.steps)
	w.mu.Lock()
	died := w.last
	w.mu.Unlock()
	if !over {
		w.restart()
		// Those who were online look at once, before the workers are done.
		w.syncAll()
		w.ready()
		w.check()
		if next = w.run(s.steps, next); next < len(s.steps) {
			t.Fatalf("step %d got no answer from a server that is well; log:\n%s", next, w.log)
		}
		w.settle()
	}
	w.disarm()
	w.sweep()
	w.settle()
	w.syncAll()
	w.checkSwept()
	if s.after != nil {
		s.after(w)
	}
	w.checkChunks()
	if t.Failed() {
		t.Logf("the kill was at %s", died)
	}
	return over
}

// seeds is how many seeds to try, of the given number.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 3
	}
	return n
}

// seeded returns a source of chance whose seed a failing test names.
func seeded(t *testing.T, seed uint64) *rand.Rand {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed was %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, seed))
}

func has(s, prefix string) (rest string, ok bool) { return strings.CutPrefix(s, prefix) }
