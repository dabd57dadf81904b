package aws_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/shared/wake/waketest"
)

// waits is the hold with the services that it needs, and a gateway.
type waits struct {
	wake.Service
	t      *testing.T
	ctx    context.Context
	db     store.DB
	queues *awstest.Queues
	prefix string
	logs   *logs
}

// logs fails the test at an error, unless it is expected.
type logs struct {
	t        *testing.T
	mu       sync.Mutex
	expected bool
	lines    strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.Write(b)
	if strings.Contains(string(b), "level=ERROR") && !l.expected {
		l.t.Errorf("logged %s", b)
	}
	return len(b), nil
}

// expect lets errors be logged from now on.
func (l *logs) expect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected = true
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// inProcess answers the SDK without a socket, so that time can be imitated.
type inProcess struct{ http.Handler }

func (p inProcess) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

func newWaits(t *testing.T) *waits {
	db, err := local.Open(local.NewMemory().Options())
	if err != nil {
		t.Fatal(err)
	}
	queues := awstest.NewQueues(awstest.QueuesOptions{BaseURL: "https://sqs.us-east-1.amazonaws.com"})
	t.Cleanup(func() {
		queues.Close()
		_ = db.Close()
	})
	w := &waits{t: t, db: db.DB(), queues: queues, prefix: queues.URL("test_wait_"), logs: &logs{t: t}}
	w.ctx = grant.With(t.Context(), "test", grant.Of(grant.Wakes(), grant.Holds(), grant.ReadTable("users"), grant.WriteTable("users")), nil)
	w.Service = aws.HoldInQueue(w.options(), w.db, clock.System{}, slog.New(slog.NewTextHandler(w.logs, nil)))
	return w
}

func (w *waits) options() aws.Options {
	return aws.Options{Waits: w.prefix, Config: func() (sdk.Config, error) {
		return sdk.Config{
			Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			HTTPClient: inProcess{w.queues},
		}, nil
	}}
}

// receive is what the gateway does where a client waits.
func (w *waits) receive(elsewhere string) (woken bool) {
	seconds, n := int(places.Hold.Seconds()), 10
	queue := w.prefix + strings.Replace(elsewhere, "/", "", 1)
	out, err := w.queues.Receive(awstest.Receive{QueueURL: queue, WaitTimeSeconds: &seconds, MaxNumberOfMessages: &n})
	return err == nil && len(out.Messages) > 0
}

// elsewhere waits as a client does that follows the redirects. When ctx ends the
// client is gone, and the gateway's receive goes on without it.
func (w *waits) elsewhere(ctx context.Context, place string) (wake.Outcome, error) {
	ends := make(chan bool, 1)
	go func() { ends <- w.receive(place) }()
	select {
	case woken := <-ends:
		return wake.Outcome{Woken: woken}, nil
	case <-ctx.Done():
		return wake.Outcome{}, ctx.Err()
	}
}

func TestHoldInQueueWaits(t *testing.T) {
	waketest.Run(t, func(t *testing.T) waketest.Harness {
		w := newWaits(t)
		return waketest.Harness{Service: aws.Settled(w.Service), Elsewhere: w.elsewhere}
	})
}

// A client that waits again and again, as of /sync.
type client struct {
	*waits
	connection string
	keys       []string
	// Where it was sent last, empty when it is held by the function.
	place string
	began time.Time
	// news is what a look finds.
	news atomic.Bool
}

func (w *waits) client(connection string) *client {
	return &client{waits: w, connection: connection, keys: []string{"user @a"}}
}

// hold makes a request that waits for half a minute, or until the client is gone.
func (c *client) hold(gone time.Duration) (o wake.Outcome, err error) {
	ctx := c.ctx
	if gone > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, gone)
		defer cancel()
	}
	c.began = time.Now()
	until := c.began.Add(30 * time.Second)
	for {
		ticket, err := c.Arm(ctx, wake.Wait{Keys: c.keys, Until: until, Connection: c.connection})
		if err != nil {
			return o, err
		}
		o, err = ticket.Hold(ctx)
		ticket.Release()
		c.place = o.Elsewhere
		if err != nil {
			return o, err
		}
		if o.Elsewhere == "" {
			if c.news.Load() || !o.Woken || !time.Now().Before(until) {
				return o, nil
			}
			continue
		}
		if o, err = c.elsewhere(ctx, o.Elsewhere); err != nil {
			return o, err
		}
		place, _, _ := strings.Cut(c.place, "/")
		return o, c.Service.(wake.Returned).Returned(ctx, place, c.keys)
	}
}

// idle waits until the time is up, and returns where and how long.
func (c *client) idle() (step string, took time.Duration) {
	c.t.Helper()
	o, err := c.hold(0)
	if err != nil {
		c.t.Fatal(err)
	}
	if o.Woken && c.place == "" {
		c.t.Error("woken by nobody")
	}
	return strings.TrimPrefix(c.place, c.connection+"/"), time.Since(c.began)
}

// wakeAfter wakes the key, and says how long the client then still waited.
func (c *client) wakeAfter(d time.Duration) (step string, late time.Duration) {
	c.t.Helper()
	var at time.Time
	var done sync.WaitGroup
	done.Go(func() {
		time.Sleep(d)
		at = time.Now()
		c.news.Store(true)
		if err := c.Wake(c.ctx, c.keys[0]); err != nil {
			c.t.Error(err)
		}
	})
	c.news.Store(false)
	o, err := c.hold(0)
	end := time.Now()
	done.Wait()
	if err != nil || c.place != "" && !o.Woken {
		c.t.Errorf("%+v, %v", o, err)
	}
	return strings.TrimPrefix(c.place, c.connection+"/"), end.Sub(at)
}

func held(t *testing.T, test func(w *waits)) {
	synctest.Test(t, func(t *testing.T) { test(newWaits(t)) })
}

// An idle device waits 20 s at a time in queues that are made once; no function
// waits but for the moment that these need.
func TestAnIdleDeviceWaitsInQueues(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		start := time.Now()
		step, took := c.idle()
		if step == "" || took < 20*time.Second || took > 23*time.Second {
			t.Errorf("first at %q for %s", step, took)
		}
		for range 200 {
			time.Sleep(time.Second / 2)
			if step, took := c.idle(); step == "" || took != 20*time.Second {
				t.Fatalf("after %s: at %q for %s", time.Since(start), step, took)
			}
		}
		if names := w.queues.Names("test_wait_"); len(names) != 4 {
			t.Errorf("there are %v", names)
		}
	})
}

func TestAWakeEndsTheHoldAtOnce(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.idle()
		for _, after := range []time.Duration{time.Millisecond, time.Second, 10 * time.Second, 19 * time.Second} {
			time.Sleep(time.Minute) // at rest
			if step, late := c.wakeAfter(after); step == "" || late > 100*time.Millisecond {
				t.Errorf("a wake after %s came %s late at %q", after, late, step)
			}
		}
	})
}

// Those who are woken again and again use one queue after the other, and are held
// by the function in between; nobody comes late by more than its looks.
func TestAConversationIsHeldWhereItCanBe(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.idle()
		time.Sleep(time.Minute)
		var steps []string
		for range 12 {
			step, late := c.wakeAfter(3 * time.Second)
			if late > time.Second {
				t.Errorf("%s late at %q", late, step)
			}
			steps = append(steps, step)
		}
		inQueues := strings.Fields(strings.Join(steps, " "))
		if steps[0] == "" || steps[1] == "" || steps[2] == "" || steps[3] == "" || len(inQueues) < 5 {
			t.Errorf("held at %q", steps)
		}
	})
}

// A client that gives up leaves a receive behind, which would take its next wake.
func TestAReceiveOfNobodyTakesNoWake(t *testing.T) {
	for _, gone := range []time.Duration{time.Second, 10 * time.Second, 19 * time.Second} {
		held(t, func(w *waits) {
			c := w.client("device")
			c.idle()
			time.Sleep(time.Minute)
			if _, err := c.hold(gone); err == nil {
				t.Error("it did not give up")
			}
			if step, late := c.wakeAfter(time.Second / 2); late > time.Second || step != "" && late > 100*time.Millisecond {
				t.Errorf("gone after %s, woken %s late at %q", gone, late, step)
			}
		})
	}
}

func TestTwoRequestsOfAConnectionWaitAtDifferentQueues(t *testing.T) {
	held(t, func(w *waits) {
		one, two, three := w.client("device"), w.client("device"), w.client("device")
		one.idle()
		time.Sleep(time.Minute)
		var all sync.WaitGroup
		for i, c := range []*client{one, two, three} {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				_, _ = c.hold(0)
			})
		}
		all.Wait()
		used := map[string]bool{}
		for _, c := range []*client{one, two, three} {
			_, step, _ := strings.Cut(c.place, "/")
			for _, queue := range step {
				if used[string(queue)] {
					t.Errorf("held at %q, %q, %q", one.place, two.place, three.place)
				}
				used[string(queue)] = true
			}
		}
	})
}

func TestVanishedQueuesAreMadeAgain(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.idle()
		time.Sleep(time.Hour)
		for _, name := range w.queues.Names("test_wait_") {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(fmt.Sprintf(`{"QueueUrl":%q}`, w.queues.URL(name))))
			r.Header.Set("X-Amz-Target", "AmazonSQS.DeleteQueue")
			w.queues.ServeHTTP(httptest.NewRecorder(), r)
		}
		time.Sleep(2 * time.Minute) // SQS makes no queue of that name before
		start := time.Now()
		n := 0
		for ; time.Since(start) < time.Minute; n++ {
			c.idle()
			time.Sleep(time.Second / 2)
		}
		if n > 8 {
			t.Errorf("%d requests in a minute", n)
		}
		time.Sleep(time.Minute)
		if step, late := c.wakeAfter(time.Second); step == "" || late > 100*time.Millisecond {
			t.Errorf("woken %s late at %q", late, step)
		}
	})
}

// A client that does not follow redirects is held by functions from its fourth
// request on, for a day.
func TestAClientThatNeverComesBackIsHeldHere(t *testing.T) {
	held(t, func(w *waits) {
		ask := func() string {
			ticket, err := w.Arm(w.ctx, wake.Wait{Keys: []string{"user @a"}, Until: time.Now().Add(30 * time.Second), Connection: "device"})
			if err != nil {
				t.Fatal(err)
			}
			defer ticket.Release()
			o, err := ticket.Hold(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Second)
			return o.Elsewhere
		}
		sent := 0
		for range 50 {
			if ask() != "" {
				sent++
			}
		}
		if sent != 3 {
			t.Errorf("sent away %d times", sent)
		}
		time.Sleep(24 * time.Hour)
		if ask() == "" {
			t.Error("it is not tried again after a day")
		}
	})
}

// The place is in a URL that anybody with an account may write.
func TestInventedPlacesAreNotRemembered(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.idle()
		for i := range 100 {
			if err := w.Service.(wake.Returned).Returned(w.ctx, fmt.Sprint("invented", i), c.keys); err != nil {
				t.Fatal(err)
			}
		}
		if n := aws.Remembered(w.Service); n != 1 {
			t.Errorf("%d connections are remembered", n)
		}
	})
}

func TestRoomsWakeToo(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.keys = []string{"user @a", "room !r"}
		c.idle()
		time.Sleep(time.Minute)
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { _ = w.Wake(w.ctx, "room !r", "room !other") })
		if o, err := c.hold(0); err != nil || !o.Woken || time.Since(start) != 3*time.Second {
			t.Errorf("%+v, %v after %s", o, err, time.Since(start))
		}
	})
}

// What goes wrong with a wake does not undo what was written before it.
func TestAWakeThatFailsIsNoError(t *testing.T) {
	held(t, func(w *waits) {
		c := w.client("device")
		c.idle()
		time.Sleep(time.Minute)
		w.logs.expect()
		o := w.options()
		o.Config = func() (sdk.Config, error) { return sdk.Config{}, fmt.Errorf("no configuration") }
		other := aws.HoldInQueue(o, w.db, clock.System{}, slog.New(slog.NewTextHandler(w.logs, nil)))
		time.AfterFunc(time.Second, func() {
			if err := other.Wake(w.ctx, c.keys[0]); err != nil {
				t.Error(err)
			}
		})
		if o, err := c.hold(0); err != nil || o.Woken {
			t.Errorf("%+v, %v", o, err)
		}
		if !strings.Contains(w.logs.String(), "a wake is lost") {
			t.Error("nothing is logged")
		}
	})
}

// TestNoWakeIsLost lets a client wait that is slow, gives up and comes back, while
// others write at any time: whoever waits to the end of a hold hears of a write in
// it as soon as it can.
func TestNoWakeIsLost(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 40
	}
	for n := range seeds {
		seed := rand.Uint64()
		held(t, func(w *waits) { w.play(t, seed) })
		if t.Failed() {
			fmt.Fprintf(os.Stderr, "run %d, seed %d\n", n, seed)
			return
		}
	}
}

func (w *waits) play(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	const total = 15 * time.Minute
	// Writers are several functions, which remember for themselves whom they woke.
	writers := []wake.Service{w.Service}
	for range 2 {
		writers = append(writers, aws.HoldInQueue(w.options(), w.db, clock.System{}, slog.New(slog.NewTextHandler(w.logs, nil))))
	}
	var mu sync.Mutex
	var written []time.Time
	pace := []time.Duration{2 * time.Second, 15 * time.Second, time.Minute}[r.IntN(3)]
	var plan []time.Duration
	for at := upTo(pace); at < total; at += upTo(2 * pace) {
		plan = append(plan, at)
	}
	by := make([]wake.Service, len(plan))
	for i := range by {
		by[i] = writers[r.IntN(len(writers))]
	}
	start := time.Now()
	var all sync.WaitGroup
	all.Go(func() {
		for i, at := range plan {
			time.Sleep(time.Until(start.Add(at)))
			mu.Lock()
			written = append(written, time.Now())
			mu.Unlock()
			if err := by[i].Wake(w.ctx, "user @a"); err != nil {
				t.Error(err)
			}
		}
	})
	// newSince is the first write after the client looked last.
	newSince := func(seen int) (time.Time, int) {
		mu.Lock()
		defer mu.Unlock()
		if len(written) > seen {
			return written[seen], len(written)
		}
		return time.Time{}, seen
	}
	seen := 0
	for time.Since(start) < total {
		began := time.Now()
		gone := time.Hour
		if r.IntN(4) == 0 {
			gone = upTo(20 * time.Second)
		}
		var slow time.Duration
		for range 2 {
			slow += upTo(2 * time.Second) // each redirect takes its time
		}
		first, now, finished := w.request(t, began, gone, slow, func() (time.Time, int) { return newSince(seen) })
		if finished {
			if !first.IsZero() {
				from := first
				if from.Before(began) {
					from = began
				}
				if late := time.Since(from) - slow; late > 1500*time.Millisecond {
					t.Errorf("after %s: news came %s late", began.Sub(start), late)
				}
			}
			seen = now
		}
		time.Sleep(upTo(time.Second))
	}
	all.Wait()
}

// request is a request of /sync with all its redirects. It returns the first news
// and how much was seen, and whether it came to its end.
func (w *waits) request(t *testing.T, began time.Time, gone, slow time.Duration, look func() (time.Time, int)) (first time.Time, seen int, finished bool) {
	ctx, cancel := context.WithDeadline(w.ctx, began.Add(gone))
	defer cancel()
	pause := func() bool {
		select {
		case <-time.After(slow / 2):
			return true
		case <-ctx.Done():
			return false
		}
	}
	if first, seen = look(); !first.IsZero() {
		return first, seen, true
	}
	until := began.Add(30 * time.Second)
	for {
		ticket, err := w.Arm(w.ctx, wake.Wait{Keys: []string{"user @a"}, Until: until, Connection: "device"})
		if err != nil {
			t.Fatal(err)
		}
		if first, seen = look(); !first.IsZero() {
			return first, seen, true
		}
		o, err := ticket.Hold(ctx)
		if err != nil {
			return first, seen, false
		}
		if o.Elsewhere == "" {
			if first, seen = look(); !first.IsZero() || !time.Now().Before(until) {
				return first, seen, true
			}
			continue
		}
		if !pause() {
			return first, seen, false
		}
		if _, err := w.elsewhere(ctx, o.Elsewhere); err != nil {
			return first, seen, false
		}
		place, _, _ := strings.Cut(o.Elsewhere, "/")
		if !pause() {
			return first, seen, false
		}
		first, seen = look()
		return first, seen, w.Service.(wake.Returned).Returned(w.ctx, place, []string{"user @a"}) == nil
	}
}
