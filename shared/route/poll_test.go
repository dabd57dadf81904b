package route

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/shared/wake/waketest"
)

// board is what a poll looks at and a writer writes on. at, if set, is called
// before every step of the poll, with its name.
type board struct {
	mu      sync.Mutex
	written bool
	waiters map[chan struct{}]bool
	looks   int
	steps   []string
	at      func(step string)
}

func newBoard() *board { return &board{waiters: map[chan struct{}]bool{}} }

func (b *board) step(name string) {
	b.mu.Lock()
	b.steps = append(b.steps, name)
	b.mu.Unlock()
	if b.at != nil {
		b.at(name)
	}
}

func (b *board) write(v bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written = v
}

// Wake wakes everybody, whatever the keys.
func (b *board) Wake(context.Context, ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.waiters {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return nil
}

func (b *board) Arm(context.Context, wake.Wait) (wake.Ticket, error) {
	b.step("arm")
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters[c] = true
	return &boardTicket{b, c}, nil
}

type boardTicket struct {
	b *board
	c chan struct{}
}

func (k *boardTicket) Hold(ctx context.Context) (wake.Outcome, error) {
	k.b.step("hold")
	select {
	case <-k.c:
		return wake.Outcome{Woken: true}, nil
	case <-time.After(30 * time.Second):
		return wake.Outcome{}, nil
	case <-ctx.Done():
		return wake.Outcome{}, ctx.Err()
	}
}

func (k *boardTicket) Release() {
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	delete(k.b.waiters, k.c)
}

type waitRequest struct {
	Timeout int64  `query:"timeout"`
	Since   string `query:"since"`
}

func (w *waitRequest) Waits(Caller) ([]string, time.Duration) {
	return []string{"key"}, time.Duration(w.Timeout) * time.Millisecond
}

type seen struct {
	Written bool
	Since   string
}

func (b *board) poll() Route {
	return Route{Name: "poll", Pattern: "GET /poll", Handler: Poll(none,
		func(_ context.Context, _ *nothing, _ Caller, r *waitRequest) (*seen, bool, error) {
			b.mu.Lock()
			b.looks++
			name := []string{"", "first look", "second look", "last look"}[min(b.looks, 3)]
			b.mu.Unlock()
			b.step(name)
			b.mu.Lock()
			defer b.mu.Unlock()
			return &seen{b.written, r.Since}, b.written, nil
		})}
}

// follow makes a request and follows redirects, as clients do: with the same
// headers, and by locations that may be relative.
func follow(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	for hops := 0; ; hops++ {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusTemporaryRedirect || hops == 2 {
			return w
		}
		to, err := r.URL.Parse(w.Header().Get("Location"))
		if err != nil {
			panic(err)
		}
		next := httptest.NewRequest(r.Method, to.String(), nil)
		next.Header = r.Header
		r = next
	}
}

// TestAPollMissesNoWrite lets a writer write before one step of a poll, and wake
// before the same or a later one, in all combinations, while the poll waits here
// and while it waits elsewhere: it answers with the write, and no later than the
// wake.
func TestAPollMissesNoWrite(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		steps := []string{"first look", "arm", "second look", "hold", "during", "last look"}
		if elsewhere {
			steps = []string{"first look", "arm", "second look", "before the wait", "hold", "during", "after the wait", "last look"}
		}
		is := func(step string) int { return slices.Index(steps, step) }
		for write := range steps {
			for wakes := write; wakes < len(steps); wakes++ {
				name := fmt.Sprintf("elsewhere %v, write before %s, wake before %s", elsewhere, steps[write], steps[wakes])
				synctest.Test(t, func(t *testing.T) {
					b := newBoard()
					b.at = func(step string) {
						if step == steps[write] {
							b.write(true)
						}
						if step == steps[wakes] {
							_ = b.Wake(t.Context())
						}
					}
					during := time.AfterFunc(10*time.Second, func() { b.at("during") })
					defer during.Stop()
					away := &waketest.Away{Service: b, Between: b.step}
					h := serve(t, b, io.Discard, b.poll())
					if elsewhere {
						h = away.Handler(serve(t, away, io.Discard, b.poll()))
					}
					start := time.Now()
					r := httptest.NewRequest("GET", "/poll?timeout=30000&since=s", nil)
					r.Header.Set("Authorization", "Bearer token") // who has none waits here
					w := follow(h, r)
					want := 30 * time.Second
					switch {
					case write <= is("second look") || wakes <= is("hold"):
						want = 0
					case wakes == is("during"):
						want = 10 * time.Second
					}
					if took := time.Since(start); took != want || w.Body.String() != `{"Written":true,"Since":"s"}` {
						t.Errorf("%s: %d %s after %s, not %s (%v)", name, w.Code, w.Body, took, want, b.steps)
					}
					if len(b.waiters) != 0 || away.Waiting() != 0 {
						t.Errorf("%s: %d and %d waiters are left", name, len(b.waiters), away.Waiting())
					}
				})
			}
		}
	}
}

func TestAPollWaitsForWhatItWasWokenFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		// Wakes that bring nothing do not end the wait.
		for i := range 3 {
			time.AfterFunc(time.Duration(i+1)*time.Second, func() { _ = b.Wake(t.Context()) })
		}
		start := time.Now()
		w := ask(serve(t, b, io.Discard, b.poll()), "GET", "/poll?timeout=20000", "")
		// The waiter's own time of 30 s is over after the request's 20 s.
		if took := time.Since(start); took < 20*time.Second || w.Code != 200 || !strings.Contains(w.Body.String(), "false") {
			t.Errorf("%d %s after %s", w.Code, w.Body, took)
		}
	})
}

func TestAPollWithoutTimeoutAnswersAtOnce(t *testing.T) {
	b := newBoard()
	w := ask(serve(t, b, io.Discard, b.poll()), "GET", "/poll", "")
	if w.Code != 200 || len(b.steps) != 1 {
		t.Errorf("%d after %v", w.Code, b.steps)
	}
}

// A wait elsewhere in vain is answered like one here: with what there is.
func TestAPollInVainIsAnsweredElsewhereToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		away := &waketest.Away{Service: b}
		start := time.Now()
		w := follow(away.Handler(serve(t, away, io.Discard, b.poll())), httptest.NewRequest("GET", "/poll?timeout=30000&since=%2B%26", nil))
		if took := time.Since(start); took != 30*time.Second || w.Code != 200 || w.Body.String() != `{"Written":false,"Since":"+&"}` {
			t.Errorf("%d %s after %s", w.Code, w.Body, took)
		}
	})
}

// keyed wakes those who wait for a key.
type keyed struct {
	mu    sync.Mutex
	armed map[*keyedTicket]bool
}

type keyedTicket struct {
	k     *keyed
	keys  []string
	until time.Time
	woken chan struct{}
}

func (k *keyed) wake(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for t := range k.armed {
		if slices.Contains(t.keys, key) {
			close(t.woken)
			delete(k.armed, t)
		}
	}
}

func (k *keyed) Arm(_ context.Context, w wake.Wait) (wake.Ticket, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := &keyedTicket{k, slices.Clone(w.Keys), w.Until, make(chan struct{})}
	k.armed[t] = true
	return t, nil
}

func (t *keyedTicket) Hold(context.Context) (wake.Outcome, error) {
	select {
	case <-t.woken:
		return wake.Outcome{Woken: true}, nil
	case <-time.After(time.Until(t.until)):
		return wake.Outcome{}, nil
	}
}

func (t *keyedTicket) Release() {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	delete(t.k.armed, t)
}

type foundKeys struct{ Written bool }

func (foundKeys) WakeKeys() []string { return []string{"found"} }

// A look finds out what else the caller waits for. What is written under that key
// before, between and after the looks ends the wait at once.
func TestAPollWaitsForWhatALookFinds(t *testing.T) {
	for at := 1; at <= 4; at++ { // before the first, second and third look; 4: while it holds
		synctest.Test(t, func(t *testing.T) {
			k := &keyed{armed: map[*keyedTicket]bool{}}
			var written atomic.Bool
			looks := 0
			write := func() { written.Store(true); k.wake("found") }
			poll := Route{Name: "poll", Pattern: "GET /poll", Handler: Poll(none,
				func(context.Context, *nothing, Caller, *waitRequest) (*foundKeys, bool, error) {
					if looks++; looks == at {
						write()
					}
					return &foundKeys{written.Load()}, written.Load(), nil
				})}
			if at > 2 { // there are two looks before it holds
				time.AfterFunc(10*time.Second, write)
			}
			start := time.Now()
			w := ask(serve(t, k, io.Discard, poll), "GET", "/poll?timeout=30000", "")
			want := time.Duration(0)
			if at > 2 {
				want = 10 * time.Second
			}
			if took := time.Since(start); took != want || !strings.Contains(w.Body.String(), "true") {
				t.Errorf("written at look %d: %s after %s", at, w.Body, took)
			}
			if len(k.armed) != 0 {
				t.Errorf("written at look %d: %d tickets are left", at, len(k.armed))
			}
		})
	}
}
