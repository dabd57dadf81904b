package main

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/server"
)

// A fault is what something between clients and the server does wrong: it is given
// the request before it is sent on, and the answer before it is given back.
type fault struct {
	request func(w http.ResponseWriter, r *http.Request) (done bool)
	answer  func(*http.Response) error
	// found are the checks that must find it.
	found []string
}

// Each thing that can be wrong between clients and the server is found, by the check
// that is there for it.
func TestSeededFaultsAreFound(t *testing.T) {
	s := server.Start(t)
	header := func(name, value string) func(*http.Response) error {
		return func(resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				resp.Header.Set(name, value)
			}
			return nil
		}
	}
	path := func(change func(string) string) func(http.ResponseWriter, *http.Request) bool {
		return func(_ http.ResponseWriter, r *http.Request) bool {
			// As one that is sent on without looking is, however odd.
			if p, err := url.PathUnescape(change(r.URL.EscapedPath())); err == nil {
				r.URL.Path, r.URL.RawPath = p, change(r.URL.EscapedPath())
			}
			return false
		}
	}
	replace := func(from, to string) func(http.ResponseWriter, *http.Request) bool {
		return path(func(p string) string { return strings.ReplaceAll(p, from, to) })
	}
	limit := func(status, bytes int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if len(r.URL.RequestURI()) <= bytes {
				return false
			}
			w.WriteHeader(status)
			return true
		}
	}
	var runs sync.WaitGroup
	slots := make(chan struct{}, 8) // they wait most of the time
	kept := newCache()
	errorsKept := newCache()
	for name, f := range map[string]fault{
		"none":                    {},
		"a hold elsewhere":        {request: elsewhereHeld(s.URL)}, // is none
		"decodes %2F":             {request: replace("%2F", "/"), found: []string{"account data", "state keys", "room aliases"}},
		"decodes all":             {request: path(func(p string) string { return (&url.URL{Path: must(url.PathUnescape(p))}).EscapedPath() }), found: []string{"state keys"}},
		"cuts at %3F":             {request: path(func(p string) string { p, _, _ = strings.Cut(p, "%3F"); return p }), found: []string{"state keys", "room aliases"}},
		"tidies up //":            {request: path(func(p string) string { return strings.ReplaceAll(p, "//", "/") }), found: []string{"spellings of paths"}},
		"decodes %2B":             {request: replace("%2B", "%20"), found: []string{"account data", "state keys"}},
		"takes ~2F for %2F":       {request: replace("~2F", "%2F"), found: []string{"account data", "state keys"}},
		"takes . for a step":      {request: steps, found: []string{"dots"}},
		"decodes the query":       {request: decodesQuery, found: []string{"queries"}},
		"refuses 4 KB":            {request: limit(http.StatusRequestURITooLong, 4000), found: []string{"a URL of 4 KB"}},
		"fails beyond 10 KB":      {request: limit(http.StatusBadGateway, 10240), found: []string{"a URL of 11 KB"}},
		"keeps answers":           {request: kept.request(http.StatusOK), answer: kept.keep(http.StatusOK), found: []string{"two at once"}},
		"keeps errors":            {request: errorsKept.request(http.StatusNotFound), answer: errorsKept.keep(http.StatusNotFound), found: []string{"errors are not kept"}},
		"adds Age":                {answer: header("Age", "3"), found: []string{"two at once"}},
		"says Hit":                {answer: header("X-Cache", "Hit from cloudfront"), found: []string{"two at once"}},
		"lets caches keep":        {answer: header("Cache-Control", "max-age=60"), found: []string{"two at once"}},
		"does not wake":           {request: deaf, found: []string{"wake"}},
		"does not wait":           {request: impatient, found: []string{"wake"}},
		"waits for ever":          {request: deafAndSlow(5 * time.Second), found: []string{"wake"}},
		"loses the token":         {request: sentOn(false), found: []string{"wake"}},
		"never comes back":        {request: sentOn(true), found: []string{"wake"}},
		"no preflight":            {request: on(http.MethodOptions, http.StatusForbidden), found: []string{"CORS preflight"}},
		"no HEAD":                 {request: on(http.MethodHead, http.StatusBadGateway), found: []string{"HEAD"}},
		"errors that are no JSON": {answer: noJSON, found: []string{"unknown endpoints"}},
		"6 MB":                    {answer: atMost(6 << 20), found: []string{"a large answer"}},
		"well-known of another":   {request: elsewhere, found: []string{"well-known"}},
		"believes X-Virga-Uri":    {request: believesURI, found: []string{"headers of the door"}},
		"an HTTP API":             {answer: header("Apigw-Requestid", "JKJaXmPLvHcESHA="), found: []string{"front door"}},
		"preflights go through": {
			answer: func(resp *http.Response) error {
				resp.Header.Set("X-Amz-Cf-Id", "SnYC")
				if resp.Request.Method == http.MethodOptions {
					resp.Header.Set("Apigw-Requestid", "JKJaXmPLvHcESHA=")
				}
				return nil
			},
			found: []string{"CORS preflight"},
		},
	} {
		slots <- struct{}{}
		runs.Go(func() {
			defer func() { <-slots }()
			out, err := smoke(t, nil, f.serve(t, s.URL))
			if name == "a hold elsewhere" && !strings.Contains(out, "over 2 hops") {
				t.Errorf("nobody was sent elsewhere:\n%s", out)
			}
			if (err != nil) != (len(f.found) > 0) {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			for _, check := range f.found {
				if !strings.Contains(out, "\nFAILED "+check) && !strings.HasPrefix(out, "FAILED "+check) {
					t.Errorf("%s: %q did not find it:\n%s", name, check, out)
				}
			}
		})
	}
	runs.Wait()
}

// What answers behind the front door is found, and what refuses is fine.
func TestWhatIsBehindTheDoorMustRefuse(t *testing.T) {
	s := server.Start(t)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	if _, err := smoke(t, nil, "-gateway", refuses.URL, s.URL); err != nil {
		t.Error(err)
	}
	if out, err := smoke(t, nil, "-gateway", refuses.URL, "-gateway", s.URL+"/", s.URL); err == nil || !strings.Contains(out, "FAILED behind the door") {
		t.Error(err)
	}
}

// A client that is told its session, and is known by another address, is what a server
// does that believes X-Virga-Ip.
func TestASpoofedAddressIsFound(t *testing.T) {
	s := server.Start(t, "-trusted-proxies", "127.0.0.1")
	f := fault{request: func(_ http.ResponseWriter, r *http.Request) bool {
		if ip := r.Header.Get("X-Virga-Ip"); ip != "" {
			r.Header.Set("X-Forwarded-For", ip)
		}
		return false
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.request(w, r)
		forwarded := r.Header.Get("X-Forwarded-For")
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(must(url.Parse(s.URL)))
			if forwarded != "" {
				p.Out.Header.Set("X-Forwarded-For", forwarded)
			}
		}}).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	if out, err := smoke(t, nil, proxy.URL); err == nil || !strings.Contains(out, "FAILED headers of the door") {
		t.Error(err)
	}
}

// serve starts a proxy with the fault.
func (f fault) serve(t *testing.T, to string) string {
	target := must(url.Parse(to))
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = target.Scheme, target.Host
		},
		ModifyResponse: f.answer,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Transport:      &http.Transport{MaxIdleConnsPerHost: 20, DisableCompression: true},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.request == nil || !f.request(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return front.URL
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func decodesQuery(_ http.ResponseWriter, r *http.Request) bool {
	if q, err := url.PathUnescape(r.URL.RawQuery); err == nil {
		r.URL.RawQuery = strings.ReplaceAll(q, " ", "+")
	}
	return false
}

// steps goes up for a name that is a step.
func steps(_ http.ResponseWriter, r *http.Request) bool {
	if p := r.URL.EscapedPath(); strings.HasSuffix(p, "/%2E") {
		p = strings.TrimSuffix(p, "/%2E")
		r.URL.Path, r.URL.RawPath = must(url.PathUnescape(p)), p
	}
	return false
}

func on(method string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			w.WriteHeader(status)
		}
		return r.Method == method
	}
}

func isSync(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/sync")
}

// without answers a /sync as if nothing was new, after some time.
func without(w http.ResponseWriter, r *http.Request, after time.Duration) bool {
	if !isSync(r) || r.URL.Query().Get("timeout") == "0" {
		return false
	}
	select {
	case <-time.After(after):
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"next_batch":"`+r.URL.Query().Get("since")+`"}`)
	return true
}

func deaf(w http.ResponseWriter, r *http.Request) bool { return without(w, r, time.Second) }

func impatient(w http.ResponseWriter, r *http.Request) bool { return without(w, r, 0) }

// deafAndSlow hears of what is new after some time.
func deafAndSlow(after time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if isSync(r) && r.URL.Query().Get("timeout") != "0" {
			time.Sleep(after)
		}
		return false
	}
}

// sentOn sends who waits to another place, where the token is not known, or on and on.
func sentOn(forever bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		back, done := strings.CutPrefix(r.URL.Path, "/hold")
		switch {
		case !done && (!isSync(r) || r.URL.Query().Get("timeout") == "0"):
			return false
		case !done || forever:
			time.Sleep(300 * time.Millisecond)
			w.Header().Set("Location", "/hold"+r.URL.Path+"?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}
		time.Sleep(1500 * time.Millisecond) // as if it waited
		r.URL.Path, r.URL.RawPath = back, ""
		r.Header.Del("Authorization")
		return false
	}
}

// elsewhereHeld lets who waits wait elsewhere, as on AWS: a first redirect leads to
// where nobody looks at tokens, and a second one to the answer.
func elsewhereHeld(to string) func(http.ResponseWriter, *http.Request) bool {
	const wait, done = "/hold/wait", "/hold/done"
	redirect := func(w http.ResponseWriter, r *http.Request, path string) bool {
		w.Header().Set("Location", path+"?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	at := func(r *http.Request) *http.Request {
		q := r.URL.Query()
		q.Set("timeout", "0")
		look := must(http.NewRequestWithContext(r.Context(), http.MethodGet, to+"/_matrix/client/v3/sync?"+q.Encode(), nil))
		look.Header.Set("Authorization", r.Header.Get("Authorization"))
		return look
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case isSync(r) && r.URL.Query().Get("timeout") != "0":
			return redirect(w, r, wait)
		case r.URL.Path == wait:
			timeout := must(time.ParseDuration(r.URL.Query().Get("timeout") + "ms"))
			for end := time.Now().Add(timeout); time.Now().Before(end) && r.Context().Err() == nil; time.Sleep(50 * time.Millisecond) {
				resp, err := http.DefaultClient.Do(at(r))
				if err != nil {
					break
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if !bytes.Contains(body, []byte(`"next_batch":"`+r.URL.Query().Get("since")+`"`)) && resp.StatusCode == http.StatusOK {
					break // and of a session that has ended nobody tells
				}
			}
			return redirect(w, r, done)
		case r.URL.Path == done:
			look := at(r)
			r.URL, r.Host = look.URL, look.Host
		}
		return false
	}
}

func noJSON(resp *http.Response) error {
	if resp.StatusCode == http.StatusNotFound {
		resp.Body = io.NopCloser(strings.NewReader("<html>"))
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	}
	return nil
}

func atMost(n int64) func(*http.Response) error {
	return func(resp *http.Response) error {
		body, err := io.ReadAll(resp.Body)
		if int64(len(body)) > n {
			resp.StatusCode, body = http.StatusBadGateway, nil
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Del("Content-Length")
		return err
	}
}

func elsewhere(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/.well-known/matrix/client" {
		return false
	}
	_, _ = io.WriteString(w, `{"m.homeserver":{"base_url":"http://127.0.0.1:1"}}`)
	return true
}

func believesURI(_ http.ResponseWriter, r *http.Request) bool {
	if uri := r.Header.Get("X-Virga-Uri"); uri != "" {
		r.URL.Path, r.URL.RawPath = uri, ""
	}
	return false
}

// cache keeps answers by their URL alone.
type cache struct {
	mu   sync.Mutex
	kept map[string]*http.Response
	body map[string][]byte
}

func newCache() *cache { return &cache{kept: map[string]*http.Response{}, body: map[string][]byte{}} }

func keepable(r *http.Request, status, of int) bool {
	return r.Method == http.MethodGet && status == of && (strings.Contains(r.URL.Path, "/whoami") || strings.Contains(r.URL.Path, "/directory/"))
}

func (c *cache) request(of int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		c.mu.Lock()
		resp, body := c.kept[r.URL.RequestURI()], c.body[r.URL.RequestURI()]
		c.mu.Unlock()
		if resp == nil || !keepable(r, resp.StatusCode, of) {
			return false
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(body)
		return true
	}
}

func (c *cache) keep(of int) func(*http.Response) error {
	return func(resp *http.Response) error {
		if !keepable(resp.Request, resp.StatusCode, of) {
			return nil
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.kept[resp.Request.URL.RequestURI()], c.body[resp.Request.URL.RequestURI()] = resp, body
		return err
	}
}
