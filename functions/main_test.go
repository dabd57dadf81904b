package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

// The distribution takes some paths to the function of one route whatever the
// method is, and paths that are like them; the gateway would take those to the
// function for what nobody knows. Both have to say the same.
func TestAFunctionSaysOfOtherRequestsWhatUnknownSays(t *testing.T) {
	rt := &route.Runtime{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	unknown := route.Mux(rt, served(handlerUnknown, api.Routes()))
	methods := []string{"GET", "PUT", "POST", "DELETE", "PATCH", "TRACE"}
	declared := http.NewServeMux()
	of := map[string]string{} // the routes of patterns
	for _, r := range api.Routes() {
		for _, p := range r.Patterns() {
			declared.Handle(p, http.NotFoundHandler())
			of[p] = r.Name
		}
	}
	// others are requests to paths that another route declares, whatever the method:
	// the distribution tells these apart.
	others := func(r route.Route, path string) bool {
		for _, m := range methods {
			_, pattern := declared.Handler(httptest.NewRequest(m, path, nil))
			if name := of[pattern]; name != "" && name != r.Name {
				return true
			}
		}
		return false
	}
	asked := 0
	for _, r := range api.Routes() {
		if !r.Streams() {
			continue
		}
		own := route.Mux(rt, served(r.Name, api.Routes()))
		for _, pattern := range r.Patterns() {
			method, path, _ := strings.Cut(pattern, " ")
			if strings.HasPrefix(path, "/hold/") {
				continue // which is in nobody's interface
			}
			path = strings.NewReplacer("{", "", "}", "").Replace(path)
			type request struct{ method, path string }
			var requests []request
			// A HEAD, which the gateway does not count as GET, is answered here.
			for _, m := range methods {
				if m != method {
					requests = append(requests, request{m, path})
				}
				for _, p := range []string{
					strings.Replace(path, "/client/v3/", "/client/v9/", 1), strings.Replace(path, "/client/v3/", "/client/v1/", 1),
					path + "/", path + "/more", "/." + path, "/x/.." + path, strings.Replace(path, "/", "//", 1),
					strings.Replace(path, "roomId", "", 1), strings.Replace(path, "roomId", "..", 1),
				} {
					if p != path {
						requests = append(requests, request{m, p})
					}
				}
			}
			for _, q := range requests {
				if _, own := declared.Handler(httptest.NewRequest(q.method, q.path, nil)); of[own] != "" || others(r, q.path) {
					continue
				}
				asked++
				want, got := httptest.NewRecorder(), httptest.NewRecorder()
				unknown.ServeHTTP(want, httptest.NewRequest(q.method, q.path, nil))
				own.ServeHTTP(got, httptest.NewRequest(q.method, q.path, nil))
				if got.Code != want.Code || got.Body.String() != want.Body.String() || got.Header().Get("Allow") != want.Header().Get("Allow") ||
					got.Code != http.StatusNotFound && got.Code != http.StatusMethodNotAllowed {
					t.Errorf("%s %s: %s says %d %s, and unknown %d %s", q.method, q.path, r.Name, got.Code, got.Body, want.Code, want.Body)
				}
			}
		}
	}
	if asked == 0 {
		t.Fatal("nothing streams")
	}
	t.Logf("%d requests", asked)
}
