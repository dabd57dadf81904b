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
					w := follow(h, httptest.NewRequest("GET", "/poll?timeout=30000&since=s", nil))
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
