// Package waiting holds the two ways of waiting for news against each other, with
// the real /sync of a whole server: held by the request itself, and elsewhere,
// where a client is sent by a redirect and comes back from by another. Clients
// cannot tell them apart.
package waiting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/shared/wake/waketest"
	"github.com/virga-im/virga/tests/server"
)

// world is a server that is reached at two URLs: at one it waits here, at the
// other elsewhere. Alice and Bob share a room.
type world struct {
	t               *testing.T
	in              *server.Inside
	here, elsewhere string
	alice, bob      string // access tokens
	room            string
	txn             int

	mu sync.Mutex
	at func(step string)
}

func newWorld(t *testing.T) *world { return worldOf(t, "off") }

func worldOf(t *testing.T, presence string) *world {
	w := &world{t: t, in: server.InProcess(t, nil, "-presence", presence)}
	db := w.in.Process.Store
	cfg, err := config.Load(config.Input{Args: []string{"-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-presence", presence}})
	if err != nil {
		t.Fatal(err)
	}
	routes := api.Routes()
	srv, err := home.New(home.Options{
		Config: cfg, DB: db.DB(), Queues: db.Queues(), Blobs: db.Blobs(), Wake: db.Wake(),
		Clock: clock.System{}, Operations: api.Operations(routes),
	})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(waiter wake.Waiter, around func(http.Handler) http.Handler) string {
		front := httptest.NewServer(around(route.Mux(&route.Runtime{
			Server: srv, Waiter: waiter, Clock: clock.System{}, MaxHold: time.Minute, Log: slog.New(slog.DiscardHandler),
		}, routes)))
		t.Cleanup(front.Close)
		return front.URL
	}
	steps := between{db.Wake(), w}
	away := &waketest.Away{Service: steps, Between: w.step}
	w.here = serve(steps, func(h http.Handler) http.Handler { return h })
	w.elsewhere = serve(away, away.Handler)
	w.alice, w.bob = w.register("alice"), w.register("bob")
	w.room = w.must("POST", "/createRoom", w.alice, `{"preset":"public_chat"}`)["room_id"].(string)
	w.must("POST", "/join/"+url.PathEscape(w.room), w.bob, `{}`)
	return w
}

// step is called before every step of a request that waits.
func (w *world) step(name string) {
	w.mu.Lock()
	at := w.at
	w.mu.Unlock()
	if at != nil {
		at(name)
	}
}

func (w *world) onStep(at func(step string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}

// between tells the steps of waiting.
type between struct {
	wake.Service
	w *world
}

func (b between) Arm(ctx context.Context, wait wake.Wait) (wake.Ticket, error) {
	b.w.step("arm")
	t, err := b.Service.Arm(ctx, wait)
	b.w.step("second look")
	return steppingTicket{t, b.w}, err
}

type steppingTicket struct {
	wake.Ticket
	w *world
}

func (t steppingTicket) Hold(ctx context.Context) (wake.Outcome, error) {
	t.w.step("hold")
	during := time.AfterFunc(20*time.Millisecond, func() { t.w.step("during") })
	defer during.Stop()
	return t.Ticket.Hold(ctx)
}

func request(method, target, token, body string) (int, map[string]any, error) {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var answer map[string]any
	return resp.StatusCode, answer, errors.Join(json.NewDecoder(resp.Body).Decode(&answer), nothingMore(resp))
}

func nothingMore(resp *http.Response) error { _, err := io.Copy(io.Discard, resp.Body); return err }

// must makes a request that succeeds, at the URL that nobody waits at.
func (w *world) must(method, path, token, body string) map[string]any {
	w.t.Helper()
	status, answer, err := request(method, w.in.URL+"/_matrix/client/v3"+path, token, body)
	if err != nil || status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %v, %v", method, path, status, answer, err)
	}
	return answer
}

func (w *world) register(name string) string {
	w.t.Helper()
	return w.must("POST", "/register", "", fmt.Sprintf(`{"username":%q,"password":"a password","auth":{"type":"m.login.dummy"}}`, name))["access_token"].(string)
}

// say lets Alice say something, and returns when everybody was told.
func (w *world) say(text string) {
	w.t.Helper()
	w.txn++
	w.must("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d", url.PathEscape(w.room), w.txn), w.alice, fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, text))
	w.settle()
}

func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.in.Process.Store.Settled(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// now is the position of Bob's devices when nothing is new.
func (w *world) now() (since string) {
	w.t.Helper()
	w.settle()
	return w.must("GET", "/sync", w.bob, "")["next_batch"].(string)
}

// target is the URL of Bob's /sync. The filter has what an URL must escape.
func target(base, since string, timeout time.Duration) string {
	q := url.Values{
		"since": {since}, "timeout": {fmt.Sprint(timeout.Milliseconds())}, "set_presence": {"online"},
		"filter": {`{"room":{"timeline":{"limit":7},"not_rooms":["!a&b=c+d/%:x"]}}`},
	}
	return base + "/_matrix/client/v3/sync?" + q.Encode()
}

// TestNoMessageIsMissed lets Alice speak before every step of Bob's /sync.
func TestNoMessageIsMissed(t *testing.T) {
	w := newWorld(t)
	for _, way := range []struct {
		name, base string
		steps      []string
	}{
		{"here", w.here, []string{"request", "arm", "second look", "hold", "during"}},
		{"elsewhere", w.elsewhere, []string{"request", "arm", "second look", "before the wait", "hold", "during", "after the wait"}},
	} {
		for _, when := range way.steps {
			since := w.now()
			timeout := 20 * time.Second
			if when == "after the wait" {
				timeout = 200 * time.Millisecond // nobody wakes before
			}
			text := "spoken before " + when + " " + way.name
			var once sync.Once
			w.onStep(func(step string) {
				if step == when {
					once.Do(func() { w.say(text) })
				}
			})
			start := time.Now()
			w.step("request")
			status, answer, err := request("GET", target(way.base, since, timeout), w.bob, "")
			w.onStep(nil)
			if took := time.Since(start); err != nil || status != http.StatusOK || !strings.Contains(fmt.Sprint(answer), text) || took > 10*time.Second {
				t.Errorf("%s: %d %v, %v after %s", text, status, answer, err, took)
			}
		}
	}
}

// TestWhatIsSaidMeanwhileCountsMore lets Bob say that he is away while his /sync, which
// says that he is online, waits. Its return says nothing new.
func TestWhatIsSaidMeanwhileCountsMore(t *testing.T) {
	w := worldOf(t, "on")
	for name, base := range map[string]string{"here": w.here, "elsewhere": w.elsewhere} {
		since := w.now()
		status := "/presence/@bob:localhost/status"
		w.must("PUT", status, w.bob, `{"presence":"online","status_msg":"`+name+`"}`)
		since = w.must("GET", "/sync?since="+since, w.bob, "")["next_batch"].(string)
		var once sync.Once
		w.onStep(func(step string) {
			if step == "hold" {
				once.Do(func() {
					w.must("PUT", status, w.bob, `{"presence":"unavailable"}`)
					w.say("are you there, " + name)
				})
			}
		})
		code, answer, err := request("GET", target(base, since, 20*time.Second), w.bob, "")
		w.onStep(nil)
		if err != nil || code != http.StatusOK {
			t.Errorf("%d %v, %v", code, answer, err)
		}
		if got := w.must("GET", status, w.alice, "")["presence"]; got != "unavailable" {
			t.Errorf("after a wait %s bob is %v", name, got)
		}
	}
}

// TestTheAnswerIsTheSame compares what two clients get for the same request.
func TestTheAnswerIsTheSame(t *testing.T) {
	w := newWorld(t)
	ask := func(since string, timeout time.Duration, meanwhile func()) (answers []any) {
		holding := make(chan struct{}, 10)
		w.onStep(func(step string) {
			if step == "hold" {
				holding <- struct{}{}
			}
		})
		defer w.onStep(nil)
		got := [2]any{}
		var both sync.WaitGroup
		for i, base := range []string{w.here, w.elsewhere} {
			both.Go(func() {
				status, answer, err := request("GET", target(base, since, timeout), w.bob, "")
				if err != nil || status != http.StatusOK {
					t.Errorf("%d, %v", status, err)
				}
				got[i] = timeless(answer)
			})
		}
		<-holding
		<-holding
		meanwhile()
		both.Wait()
		return got[:]
	}
	since := w.now()
	got := ask(since, 20*time.Second, func() { w.say("hello") })
	if !strings.Contains(fmt.Sprint(got[0]), "hello") || !reflect.DeepEqual(got[0], got[1]) {
		t.Errorf("here      %v\nelsewhere %v", got[0], got[1])
	}
	since = w.now()
	got = ask(since, 200*time.Millisecond, func() {})
	if got[0].(map[string]any)["next_batch"] != since || !reflect.DeepEqual(got[0], got[1]) {
		t.Errorf("after %s\nhere      %v\nelsewhere %v", since, got[0], got[1])
	}
}

// timeless drops what depends on when it is asked.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "age")
		for _, e := range v {
			timeless(e)
		}
	case []any:
		for _, e := range v {
			timeless(e)
		}
	}
	return v
}

// A session that ends while its client waits elsewhere gets nothing more.
func TestALogoutEndsAWaitElsewhere(t *testing.T) {
	w := newWorld(t)
	since := w.now()
	w.onStep(func(step string) {
		if step == "before the wait" {
			w.must("POST", "/logout", w.bob, "{}")
			w.say("not for those who left")
		}
	})
	status, answer, err := request("GET", target(w.elsewhere, since, time.Second), w.bob, "")
	if err != nil || status != http.StatusUnauthorized || answer["errcode"] != "M_UNKNOWN_TOKEN" {
		t.Errorf("%d %v, %v", status, answer, err)
	}
}

// The URL of somebody else's wait is good for nothing.
func TestAWaitIsOfOneSession(t *testing.T) {
	w := newWorld(t)
	var done string
	client := &http.Client{CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(req.URL.Path, "/done") {
			done = req.URL.String()
		}
		return nil
	}}
	req, err := http.NewRequest("GET", target(w.elsewhere, w.now(), 100*time.Millisecond), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.bob)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || done == "" {
		t.Fatalf("%d, and back from %q", resp.StatusCode, done)
	}
	for token, want := range map[string]string{w.bob: "200 <nil>", w.alice: "400 M_INVALID_PARAM", "": "401 M_MISSING_TOKEN", "vat_x": "400 M_INVALID_PARAM"} {
		status, answer, err := request("GET", done, token, "")
		if got := fmt.Sprint(status, " ", answer["errcode"]); err != nil || got != want {
			t.Errorf("with the token %q: %s, %v, not %s", token, got, err, want)
		}
	}
}

// What browsers do is what fetch does.
func TestFetchComesBack(t *testing.T) {
	node := server.Need(t, "node")
	w := newWorld(t)
	w.onStep(func(step string) {
		if step == "during" {
			w.say("fetched")
		}
	})
	const program = `fetch(process.argv[1], {headers: {Authorization: 'Bearer ' + process.argv[2]}}).then(async r => console.log(r.status, await r.text()))`
	out, err := exec.CommandContext(t.Context(), node, "-e", program, target(w.elsewhere, w.now(), 20*time.Second), w.bob).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "200 ") || !strings.Contains(string(out), "fetched") {
		t.Errorf("%s%v", out, err)
	}
}
