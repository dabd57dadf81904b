package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

// viewer is a request as a client sends it.
type viewer struct {
	Method  string            `json:"method"`
	URI     string            `json:"uri"` // with the query
	Headers map[string]string `json:"headers"`
}

// passed is what the front door makes of it: a request to the gateway, or an
// answer of its own.
type passed struct {
	StatusCode  int                          `json:"statusCode"`
	Method      string                       `json:"method"`
	URI         string                       `json:"uri"`
	QueryString map[string]any               `json:"querystring"`
	Headers     map[string]map[string]string `json:"headers"`
}

// driver runs the front door as CloudFront does, for a list of requests.
const driver = `
const all = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(all.map(function (v) {
  const cut = v.uri.indexOf('?');
  const headers = {};
  Object.keys(v.headers || {}).forEach(function (k) { headers[k.toLowerCase()] = { value: v.headers[k] }; });
  const query = cut < 0 ? undefined : v.uri.slice(cut + 1);
  return handler({ version: '1.0', viewer: { ip: '203.0.113.7' }, request: {
    method: v.method, uri: cut < 0 ? v.uri : v.uri.slice(0, cut), headers: headers, cookies: {},
    querystring: query ? { a: { value: query } } : {}, rawQueryString: function () { return query; },
  } });
})));`

// throughDoor sends requests through the program that the template holds.
func throughDoor(t *testing.T, tm *stacked, requests []viewer) []passed {
	t.Helper()
	code, _ := tm.one(t, "Door")["FunctionCode"].(string)
	if len(code) == 0 || len(code) > 10<<10 {
		t.Fatalf("the front door has %d bytes", len(code))
	}
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-e", "'use strict';"+code+driver)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			t.Fatalf("the front door fails: %s", e.Stderr)
		}
		t.Fatal(err)
	}
	var all []passed
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(requests) {
		t.Fatalf("%d answers to %d requests", len(all), len(requests))
	}
	return all
}

// Every spelling of every route goes from the client through the front door and
// the gateway to the function of the route, with parameters that hold
// everything, and the function recognises it by the header.
func TestEverySpellingReachesItsFunction(t *testing.T) {
	full, tab := fullStack(t)
	everySpelling(t, full, tab)
	everySpelling(t, realStack(t), table{routes: api.Routes()})
}

func everySpelling(t *testing.T, tm *stacked, tab table) {
	functions, err := plan(tab, "route")
	if err != nil {
		t.Fatal(err)
	}
	type sent struct {
		f       *function
		r       route.Route
		pattern string
	}
	var spellings []sent
	var requests []viewer
	for _, f := range functions {
		for _, r := range f.routes {
			for _, p := range r.Patterns() {
				method, path, _ := strings.Cut(strings.TrimSuffix(p, "{$}"), " ")
				for _, value := range []string{"x", "%21a%2Fb%3Fc%25+~:example.org", "..%2F..", "%2e%2E"} {
					spellings = append(spellings, sent{f, r, p})
					requests = append(requests, viewer{Method: method, URI: fill(path, value) + "?since=a%2Fb"})
				}
			}
		}
	}
	clients := gatewayOf(t, tm, "Api")
	admin := gateway{}
	if _, ok := tm.Resources["AdminApi"]; ok {
		admin = gatewayOf(t, tm, "AdminApi")
	}
	bad := 0
	for i, p := range throughDoor(t, tm, requests) {
		s, raw := spellings[i], requests[i].URI
		g := clients
		if strings.HasPrefix(p.URI, "/_synapse/") {
			g = admin
		}
		mux := http.NewServeMux()
		for _, pattern := range s.r.Patterns() {
			mux.Handle(pattern, http.NotFoundHandler())
		}
		_, pattern := mux.Handler(httptest.NewRequest(p.Method, p.Headers["x-virga-uri"]["value"], nil))
		got := g.find(p.Method, p.URI)
		if got != s.f.name || p.Headers["x-virga-uri"]["value"] != raw || pattern != s.pattern || len(p.QueryString) != 0 {
			if bad++; bad < 20 {
				t.Errorf("%s %s: routed as %s to %s, recognised as %q, want %s and %q", p.Method, raw, p.URI, got, pattern, s.f.name, s.pattern)
			}
		}
	}
	t.Logf("%d requests for %d spellings went through the front door", len(requests), len(spellings)/4)
}

func TestTheDoorKeepsTheURI(t *testing.T) {
	tm := realStack(t)
	for _, tt := range []struct{ sent, routed string }{
		{"/_matrix/client/v3/%6Aoin/x", "/_matrix/client/v3/join/x"},
		{"/_matrix/client/v3/join/%21a%2Fb:c", "/_matrix/client/v3/join/~21a~2Fb:c"},
		{"/_matrix/client/v3/join/a%3Fb?x=%3F", "/_matrix/client/v3/join/a~3Fb"},
		{"/_matrix/client/v3/join/a+b", "/_matrix/client/v3/join/a+b"},
		{"/_matrix/client/v3/join/~2F", "/_matrix/client/v3/join/~2F"},
		{"/_matrix/client/v3/join/%7E", "/_matrix/client/v3/join/~"},
		{"/_matrix/client/v3/join/%zz%", "/_matrix/client/v3/join/~zz~"},
		{"/_matrix/client/v3/join/%2e%2E", "/_matrix/client/v3/join/~2e~2E"},
		{"/_matrix/client/v3/join/a%2eb", "/_matrix/client/v3/join/a.b"},
		{"/_matrix/client/v3/rooms/x/state/y/", "/_matrix/client/v3/rooms/x/state/y/"},
		{"//_matrix/client/versions", "/~"},
		{"/_matrix//client/versions", "/~"},
		{"/_matrix/./client/versions", "/~"},
		{"/_matrix/client/../client/versions", "/~"},
		{"/_matrix/client/versions/..", "/~"},
		{"/", "/"},
		{"/?", "/"},
		{"/_matrix/client/versions?", "/_matrix/client/versions"},
		{"/_matrix/client/versions?a=b?c", "/_matrix/client/versions"},
	} {
		p := throughDoor(t, tm, []viewer{{Method: "GET", URI: tt.sent, Headers: map[string]string{
			"X-Virga-Uri": "/forged", "X-Virga-Ip": "198.51.100.1", "X-Virga-Else": "forged", "Authorization": "Bearer x",
		}}})[0]
		if p.URI != tt.routed {
			t.Errorf("%s is routed as %s, want %s", tt.sent, p.URI, tt.routed)
		}
		if got := p.Headers["x-virga-uri"]["value"]; got != tt.sent {
			t.Errorf("%s arrives as %s", tt.sent, got)
		}
		if _, ok := p.Headers["x-virga-else"]; ok || p.Headers["x-virga-ip"]["value"] != "203.0.113.7" || p.Headers["authorization"]["value"] != "Bearer x" {
			t.Errorf("%s: the headers are %v", tt.sent, p.Headers)
		}
	}
}

func TestTheDoorAnswersPreflightsAsTheRoutesDo(t *testing.T) {
	p := throughDoor(t, realStack(t), []viewer{{Method: "OPTIONS", URI: "/_matrix/client/v3/sync"}})[0]
	rec := httptest.NewRecorder()
	route.Mux(&route.Runtime{}, nil).ServeHTTP(rec, httptest.NewRequest("OPTIONS", "/_matrix/client/v3/sync", nil))
	if p.StatusCode != rec.Code {
		t.Errorf("status %d, want %d", p.StatusCode, rec.Code)
	}
	for name := range rec.Header() {
		if got := p.Headers[strings.ToLower(name)]["value"]; got != rec.Header().Get(name) {
			t.Errorf("%s is %q, want %q", name, got, rec.Header().Get(name))
		}
	}
	if len(p.Headers) != len(rec.Header()) {
		t.Errorf("%d headers, want %d", len(p.Headers), len(rec.Header()))
	}
}

func TestTheDoorLeadsNobodyAstray(t *testing.T) {
	v3 := route.Route{Name: "a", Pattern: "GET /_matrix/client/v3/a", Also: route.R0}
	for _, tt := range []struct {
		name  string
		other route.Route
	}{
		{"a route of its own below r0", route.Route{Name: "b", Pattern: "GET /_matrix/client/r0/b"}},
		{"an alias with another shape below r0", route.Route{Name: "b", Pattern: "GET /_matrix/client/v3/b", Also: route.Also{"/_matrix/client/r0/c"}}},
	} {
		if rules, err := renames([]route.Route{v3, tt.other}); err == nil {
			t.Errorf("%s is accepted: %v", tt.name, rules)
		}
	}
	rules, err := renames([]route.Route{v3, {Name: "b", Pattern: "GET /_matrix/client/v1/b"},
		{Name: "c", Pattern: "GET /_matrix/media/v3/c/{d}", Also: route.Also{"/_matrix/media/v1/c/{d}", "/_matrix/client/unstable/c/{d}"}},
		{Name: "d", Pattern: "PUT /_matrix/client/v3/d/{e}/{f}", Also: route.R0.And("/_matrix/client/v3/d/{e}", "/_matrix/client/r0/d/{e}")},
		{Name: "e", Pattern: "GET /_matrix/client/v1/e/{f}", Also: route.Also{"/_matrix/client/v3/e/{f}"}},
		{Name: "f", Pattern: "GET /_matrix/client/v3/e/{f}/{g}"}})
	want := []rule{{"/_matrix/client/r0", "/_matrix/client/v3"}, {"/_matrix/media/v1/c", "/_matrix/media/v3/c"}}
	if err != nil || len(rules) != 2 || rules[0] != want[0] || rules[1] != want[1] {
		t.Errorf("%v, %v, want %v", rules, err, want)
	}
}
