package route

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/wake"
)

// nothing is a service for handlers that need none.
type nothing struct{}

func none(*home.Server) *nothing { return &nothing{} }

func serve(t *testing.T, w wake.Waiter, log io.Writer, routes ...Route) http.Handler {
	t.Helper()
	for i := range routes {
		routes[i].Auth = Public
	}
	return Mux(&Runtime{
		Server: &home.Server{}, Waiter: w, Clock: clock.System{}, MaxHold: time.Minute,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}, routes)
}

func ask(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}

type thing struct {
	Room  string   `path:"roomId"`
	Limit int      `query:"limit"`
	Dir   string   `query:"dir"`
	Via   []string `query:"via"`
	Name  string   `json:"name" required:"true"`
	Count int64    `json:"count"`
}

func TestRequestsAreDecodedStrictly(t *testing.T) {
	h := serve(t, nil, io.Discard, Route{
		Name: "thing", Pattern: "POST /x/v3/{roomId}/thing", Also: R0.And("PUT /x/v3/{roomId}/thing/"),
		Handler: Handle(none, func(_ context.Context, _ *nothing, _ Caller, r *thing) (*thing, error) { return r, nil }),
	}, Route{
		Name: "list", Pattern: "GET /x/v3/{roomId}/list/",
		Handler: Handle(none, func(context.Context, *nothing, Caller, *Empty) (*Empty, error) { return &Empty{}, nil }),
	})
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"POST", "/x/v3/a%2Fb/thing?limit=3", `{"name":"n","count":2}`, 200, `"Room":"a/b","Limit":3`},
		{"POST", "/x/r0/a/thing", `{"name":"n"}`, 200, `"Room":"a"`},
		{"PUT", "/x/v3/a/thing/", `{"name":"n"}`, 200, `"Room":"a"`},
		{"POST", "/x/v3/a/thing", `{"name":"<&>"}`, 200, `<&>`},
		{"POST", "/x/v3/a/thing", `{"Room":"body","name":"n"}`, 200, `"Room":"a"`},
		{"POST", "/x/v3/a/thing", ``, 400, "M_MISSING_PARAM"},
		{"POST", "/x/v3/a/thing", `{"name":null}`, 400, "M_MISSING_PARAM"},
		{"POST", "/x/v3/a/thing", `{"name":1}`, 400, "M_BAD_JSON"},
		{"POST", "/x/v3/a/thing", `[]`, 400, "M_BAD_JSON"},
		{"POST", "/x/v3/a/thing", `{"name":`, 400, "M_NOT_JSON"},
		{"POST", "/x/v3/a/thing", `{"name":"n","more":` + nested(maxDepth-1) + `}`, 200, `"Room":"a"`},
		{"POST", "/x/v3/a/thing", `{"name":"n","more":` + nested(maxDepth) + `}`, 400, "M_BAD_JSON"},
		{"POST", "/x/v3/a/thing", `{"name":"\"` + strings.Repeat("[", maxDepth) + `"}`, 200, `"Room":"a"`},
		{"POST", "/x/v3/a/thing", "{\"name\":\"\xff\"}", 400, "M_NOT_JSON"},
		{"POST", "/x/v3/%ff/thing", `{"name":"n"}`, 400, "M_INVALID_PARAM"},
		{"POST", "/x/v3/a/thing?dir=%ff", `{"name":"n"}`, 400, "M_INVALID_PARAM"},
		{"POST", "/x/v3/a/thing?via=a&via=%ff", `{"name":"n"}`, 400, "M_INVALID_PARAM"},
		{"POST", "/x/v3/" + strings.Repeat("x", 256) + "/thing", `{"name":"n"}`, 400, "M_INVALID_PARAM"},
		{"POST", "/x/v3/a/thing?limit=many", `{"name":"n"}`, 400, "M_INVALID_PARAM"},
		{"POST", "/x/v3/a/thing", `{"name":"` + strings.Repeat("x", MaxBody) + `"}`, 413, "M_TOO_LARGE"},
		{"GET", "/x/v3/a/thing", ``, 405, "M_UNRECOGNIZED"},
		{"POST", "/x/v3/a/things", ``, 404, "M_UNRECOGNIZED"},
		{"POST", "/x/v3/a/thing/", ``, 405, "M_UNRECOGNIZED"},
		{"GET", "/x/v3/a/list", ``, 404, "M_UNRECOGNIZED"},
		{"POST", "/x/v3//thing", ``, 404, "M_UNRECOGNIZED"},
		{"POST", "/x/v3/../v3/a/thing", ``, 404, "M_UNRECOGNIZED"},
		{"GET", "//", ``, 404, "M_UNRECOGNIZED"},
		{"OPTIONS", "/x/v3/a/thing", ``, 204, ""},
	} {
		w := ask(h, test.method, test.target, test.body)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s %.40s: %d %.200s", test.method, test.target, test.body, w.Code, w.Body)
		}
		if w.Code != 204 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: the answer is not JSON: %s", test.method, test.target, w.Body)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: no CORS", test.method, test.target)
		}
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestInternalErrorsAreLoggedAndNotShown(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("the secret detail") },
		"panic": func() error { panic("the secret detail") },
	} {
		var log bytes.Buffer
		h := serve(t, nil, &log, Route{
			Name: "fails", Pattern: "GET /fails",
			Handler: Handle(none, func(context.Context, *nothing, Caller, *Empty) (*Empty, error) { return nil, fail() }),
		})
		w := ask(h, "GET", "/fails", "")
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "the secret detail") {
			t.Errorf("%s: the log has no reason: %s", name, log.String())
		}
	}
}

func TestStrangersDoNotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	h := serve(t, nil, &log)
	ask(h, strings.Repeat("M", 5000), "/"+strings.Repeat("p", 5000)+"?access_token=secret", "")
	if log.Len() == 0 || log.Len() > 1000 || strings.Contains(log.String(), "secret") {
		t.Errorf("logged %d bytes: %s", log.Len(), log.String())
	}
}

// A path that ends in a slash is one of its own, whose handler does not run for
// what ServeMux takes for it.
func TestAPathThatEndsInASlashIsExact(t *testing.T) {
	ran := 0
	h := serve(t, nil, io.Discard, Route{
		Name: "key", Pattern: "PUT /x/{key}", Also: Also{"/x/"},
		Handler: Handle(none, func(context.Context, *nothing, Caller, *struct{}) (*struct{}, error) { ran++; return &struct{}{}, nil }),
	})
	for _, tt := range []struct {
		path         string
		status, runs int
	}{{"/x/", 200, 1}, {"/x/a", 200, 1}, {"/x", 404, 0}, {"/x/%2F", 404, 0}, {"/x/%2f", 404, 0}, {"/x//", 404, 0}, {"/x/a%2F", 200, 1}} {
		ran = 0
		if w := ask(h, "PUT", tt.path, "{}"); w.Code != tt.status || ran != tt.runs {
			t.Errorf("%s is %d, and the handler ran %d times, want %d and %d", tt.path, w.Code, ran, tt.status, tt.runs)
		}
	}
	if w := ask(h, "GET", "/x/", ""); w.Code != 405 {
		t.Errorf("another method is %d", w.Code)
	}
}

func TestErrorsKeepTheirFields(t *testing.T) {
	h := serve(t, nil, io.Discard, Route{
		Name: "limited", Pattern: "GET /limited",
		Handler: Handle(none, func(context.Context, *nothing, Caller, *Empty) (*Empty, error) {
			return nil, fmt.Errorf("wrapped: %w", mxerr.LimitExceeded(1500*time.Millisecond))
		}),
	})
	w := ask(h, "GET", "/limited", "")
	if w.Code != 429 || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), `"retry_after_ms":1500`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestLimitsRefillAndForget(t *testing.T) {
	ls := Limits{Rates: config.Default().Rates}
	now := time.Unix(0, 0)
	r := ls.Rates.Login
	for range int(r.Burst) {
		if err := ls.take(LimitLogin, "1.2.3.4", 1, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := ls.take(LimitLogin, "1.2.3.4", 1, now); !mxerr.Is(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("beyond the burst: %v", err)
	}
	if err := ls.take(LimitLogin, "5.6.7.8", 1, now); err != nil {
		t.Errorf("another address: %v", err)
	}
	now = now.Add(time.Duration(float64(time.Second) / r.PerSecond))
	if err := ls.take(LimitLogin, "1.2.3.4", 1, now); err != nil {
		t.Errorf("after the refill: %v", err)
	}
	if err := ls.take(LimitJoin, "@alice:test", 3*int(ls.Rates.Join.Burst), now); err != nil {
		t.Errorf("many at once: %v", err)
	}
	now = now.Add(time.Duration(ls.Rates.Join.Burst / ls.Rates.Join.PerSecond * float64(time.Second)))
	if err := ls.take(LimitJoin, "@alice:test", 1, now); !mxerr.Is(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("after many at once: %v", err)
	}
	now = now.Add(time.Hour)
	if err := ls.take(LimitMessage, "@alice:test", 1, now); err != nil || len(ls.buckets) != 1 {
		t.Errorf("%v; %d buckets are kept", err, len(ls.buckets))
	}
}

func TestPollsOfAUserAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{waiters: map[chan struct{}]bool{}}
		poll := b.poll()
		poll.Auth = Public
		h := Mux(&Runtime{
			Server: &home.Server{}, Waiter: b, Clock: clock.System{}, MaxHold: time.Minute,
			Log: slog.New(slog.DiscardHandler), Limits: &Limits{Rates: config.Default().Rates},
		}, []Route{poll})
		for range 2 { // those that are over are not counted
			for range maxPolls {
				go ask(h, "GET", "/poll?timeout=20000", "")
			}
			synctest.Wait()
			if w := ask(h, "GET", "/poll?timeout=20000", ""); w.Code != http.StatusTooManyRequests {
				t.Errorf("one more is %d %s", w.Code, w.Body)
			}
			if w := ask(h, "GET", "/poll", ""); w.Code != 200 {
				t.Errorf("one that does not wait is %d %s", w.Code, w.Body)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:0:1::1":      "2001:db8:0:1::/64",
		"2001:db8:0:1:f:f:f:f": "2001:db8:0:1::/64",
		"2001:db8:0:2::1":      "2001:db8:0:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"pipe":                 "pipe",
	} {
		if got := (Caller{IP: ip}).Network(); got != want {
			t.Errorf("%s is of %s, want %s", ip, got, want)
		}
	}
}

// long is an answer that writes itself, and fails after so many bytes.
type long struct{ after int }

func (l *long) WriteJSON(_ context.Context, w io.Writer) error {
	if l.after > 0 {
		if _, err := io.WriteString(w, strings.Repeat(" ", l.after)); err != nil {
			return err
		}
	}
	return errors.New("the store is gone")
}

func TestLongAnswersFailAsLongAsNothingWasSent(t *testing.T) {
	for after, want := range map[int]string{0: "M_UNKNOWN", 5: "cut off"} {
		var log bytes.Buffer
		h := serve(t, nil, &log, Route{
			Name: "long", Pattern: "GET /x/long",
			Handler: Handle(none, func(context.Context, *nothing, Caller, *Empty) (*long, error) { return &long{after}, nil }),
		})
		got := func() (got string) {
			defer func() {
				if p := recover(); p == http.ErrAbortHandler {
					got = "cut off"
				} else if p != nil {
					panic(p)
				}
			}()
			w := ask(h, "GET", "/x/long", "")
			return fmt.Sprint(w.Code, w.Body)
		}()
		if !strings.Contains(got, want) || want != "cut off" && !strings.HasPrefix(got, "500") {
			t.Errorf("after %d bytes: %s", after, got)
		}
		if !strings.Contains(log.String(), "the store is gone") {
			t.Errorf("the log is silent: %s", &log)
		}
	}
}

// A client that hangs up in the middle is no error.
func TestLongAnswersEndWithTheirClient(t *testing.T) {
	var log bytes.Buffer
	h := serve(t, nil, &log, Route{
		Name: "long", Pattern: "GET /x/long",
		Handler: Handle(none, func(context.Context, *nothing, Caller, *Empty) (*long, error) { return &long{5}, nil }),
	})
	h.ServeHTTP(deaf{httptest.NewRecorder()}, httptest.NewRequest("GET", "/x/long", nil))
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error(&log)
	}
}

type deaf struct{ http.ResponseWriter }

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
