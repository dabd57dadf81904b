package rehearsal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// FuzzTheWayInAgreesWithTheLocalMux sends requests whose paths are written in all
// ways through the front door, the gateway or a function URL, and the function,
// and to the mux of the local server. Both find the same route, or neither does,
// for the same reason.
func FuzzTheWayInAgreesWithTheLocalMux(f *testing.F) {
	for _, uri := range seeds() {
		f.Add(uint8(0), uri)
		f.Add(uint8(1), uri)
		f.Add(uint8(3), uri)
	}
	for i := range viewerMethods {
		f.Add(uint8(i), "/_matrix/client/v3/profile/%40alice%3Alocalhost/displayname")
		f.Add(uint8(i), "/_matrix/client/v3/nothing")
	}
	s := Deploy(f, Options{Context: map[string]string{"registration": "open", "rateLimits": "off"}})
	functions := s.routeFunctions(f)
	answering := slices.Collect(maps.Values(functions))
	local := localMux()
	doors := []http.Handler{s.Door, s.Door.AsSent()}
	f.Fuzz(func(t *testing.T, m uint8, uri string) {
		method := viewerMethods[int(m)%len(viewerMethods)]
		if !strings.HasPrefix(uri, "/") || len(uri) > 2000 || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Skip("no request line")
		}
		want := local(method, uri)
		for i, door := range doors {
			before := s.byURL()
			got := s.reached(door, answering, method, uri)
			expected := want
			if method == http.MethodOptions { // the door does not look at the path
				expected = "status 204"
			}
			if name, ok := strings.CutPrefix(want, "route "); ok {
				expected = "function " + functions[name]
				switch {
				case method != http.MethodHead:
				case s.byURL() > before:
					if got != "status 404" && got != "status 405" { // the function answers it
						expected = got
					}
				default: // an HTTP API does not take it for GET
					expected = "status 405"
				}
			}
			if got != expected {
				t.Errorf("%s %s (door %d): %s in the deployed shape, %s locally, so %s was wanted", method, uri, i, got, want, expected)
			}
		}
	})
}

// viewerMethods are those that CloudFront lets through.
var viewerMethods = []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}

var parameter = regexp.MustCompile(`\{[^}]+\}`)

// seeds are the patterns of the routes with values that decoders like to touch,
// and with what others would tidy up.
func seeds() (all []string) {
	patterns := map[string]bool{}
	for _, r := range api.Routes() {
		for _, p := range r.Patterns() {
			_, path, _ := strings.Cut(p, " ")
			patterns[strings.TrimSuffix(path, "{$}")] = true
		}
	}
	for p := range patterns {
		all = append(all, parameter.ReplaceAllLiteralString(p, "x%2Fy%3Fz%25"))
	}
	slices.Sort(all)
	const some = "/_matrix/client/v3/rooms/!a:b/state/m.room.name/"
	return append(all,
		some, strings.TrimSuffix(some, "/"), some+"k", some+"/", some+"?", some+"?a=b?c=%2F", some+"?&&=", some+"#x",
		"/", "//", "/.", "/..", "/?", "/~", "/%2F", "/%2e", "/%2e%2e/", "/_matrix", "/_matrix/", "/_synapse/admin/v1/x", "/_synapse/", "/_synapse",
		"//_matrix/client/versions", "/_matrix//client/versions", "/_matrix/./client/versions", "/_matrix/client/../client/versions",
		"/_matrix/client/versions/..", "/_matrix/client/versions/", "/_matrix/client/versions/.", "/_matrix/client/versions%2F",
		"/_matrix/client/versions%3Fa=b", "/_matrix/client/%76ersions", "/_matrix/client/versions;x", "/%5Fmatrix/client/versions",
		"/_matrix/client/v3/%6Aoin/x", "/_matrix/client/v3/join/%2e%2e", "/_matrix/client/v3/join/..", "/_matrix/client/v3/join/.",
		"/_matrix/client/v3/join/%2E", "/_matrix/client/v3/join/a+b", "/_matrix/client/v3/join/~2F", "/_matrix/client/v3/join/%7E2F",
		"/_matrix/client/v3/join/a%2Fb", "/_matrix/client/v3/join/a%3Fb", "/_matrix/client/v3/join/%00", "/_matrix/client/v3/join/%zz",
		"/_matrix/client/v3/join/%", "/_matrix/client/v3/join/%2", "/_matrix/client/v3/join/", "/_matrix/client/v3/join//",
		"/_matrix/client/v3/join/x/", "/_matrix/client/r0/join/x", "/_matrix/client/r0/r0/join/x", "/_matrix/client/r0%2Fjoin/x",
		"/_matrix/client/%720/join/x", "/_matrix/client/v3/sync/..", "/_matrix/client/v3/x/../sync", "/_matrix/client/v9/sync",
		"/_matrix/client/v3/%73ync", "/_matrix/client/v3/sync/x/sync", "/hold/sync/x/y/done", "/hold/sync/x/y/%64one", "/hold/sync/x/y/z/done",
		"/_matrix/client/v3/rooms/x/messages/..", "/_matrix/client/x/rooms/y/z/messages", "/_matrix/client/unstable/rooms/x/hierarchy",
		"/{proxy+}", "/$default", "/_matrix/client/v3/join/{roomIdOrAlias}", "/_matrix/client/v3/join/%25", "/_matrix/client/v3/join/\"<>\\^`{|}",
	)
}

// localMux returns what the local server makes of a request: the route that it
// reaches, or the status.
func localMux() func(method, uri string) string {
	var reached string
	mux := route.Mux(&route.Runtime{
		// Handlers find no server here, and fail: that they were reached is all.
		Server: &home.Server{}, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		OnRequest: func(name string, _ int, _ time.Duration, _ store.Capacity) { reached = "route " + name },
	}, api.Routes())
	return func(method, uri string) string {
		u, err := url.ParseRequestURI("http://host" + uri) // as net/http reads a path that begins with two slashes
		if err != nil {
			return "status 400"
		}
		r := httptest.NewRequest(method, "/", nil)
		u.Scheme, u.Host = "", ""
		r.URL, r.RequestURI = u, uri
		w := httptest.NewRecorder()
		reached = ""
		mux.ServeHTTP(w, r)
		if reached != "" {
			return reached
		}
		return status(w)
	}
}

func status(w *httptest.ResponseRecorder) string { return fmt.Sprint("status ", w.Code) }

// routeFunctions returns the function of each route, by what the gateways'
// definitions say of their operations.
func (s *Stack) routeFunctions(t testing.TB) map[string]string {
	t.Helper()
	of := map[string]string{}
	for id, a := range s.apis {
		var p struct {
			Body struct {
				Paths map[string]map[string]struct{ OperationID string }
			}
		}
		if err := s.Template.Decode(id, &p); err != nil {
			t.Fatal(err)
		}
		for _, r := range a.Routes() {
			if op := p.Body.Paths[r.Path][strings.ToLower(r.Method)]; op.OperationID != "" {
				of[op.OperationID] = r.Integration.Function
			}
		}
	}
	return of
}

// byURL is how many requests came by the URLs of functions.
func (s *Stack) byURL() (n int) {
	requests := s.Requests()
	for _, id := range s.Template.IDs("AWS::Lambda::Url") {
		n += requests[id]
	}
	return n
}

// reached sends a request to a door, and returns which of the functions answered
// it, or the status if it knew no route for it.
func (s *Stack) reached(door http.Handler, functions []string, method, uri string) string {
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI, r.URL = uri, &url.URL{Path: uri}
	before := s.Functions()
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	var e struct{ Errcode string }
	_ = json.Unmarshal(w.Body.Bytes(), &e) // most answers are other than errors
	if e.Errcode == "M_UNRECOGNIZED" || w.Code == http.StatusBadRequest && e.Errcode == "" || method == http.MethodHead || method == http.MethodOptions {
		return status(w)
	}
	for name, c := range s.Functions() {
		if c.Invocations > before[name].Invocations && slices.Contains(functions, name) {
			return "function " + name
		}
	}
	return status(w)
}
