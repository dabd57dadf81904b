package checks

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type object = map[string]any

// request is one request. Target is the path and query as they are sent.
type request struct {
	method, target string
	base           string // the suite's URL if empty
	token          string
	body           any
	header         map[string]string
	// follow sends the request on wherever the answers send it.
	follow bool
}

// answer is what came back, with the hops that led to it.
type answer struct {
	status  int
	header  http.Header
	body    []byte // without its encoding
	size    int    // as it came
	proto   string
	hops    []string
	took    time.Duration
	asked   string
	address string
}

// maxHops is what the pickiest clients follow.
const maxHops = 10

// patience is how often a request is sent again that came too soon.
const patience = 60

// send makes a request, and makes it again as long as it comes too soon.
func (s *suite) send(ctx context.Context, r request) (answer, error) {
	for range patience {
		a, err := s.once(ctx, r)
		if err != nil || a.status != http.StatusTooManyRequests {
			return a, err
		}
		var said struct {
			After float64 `json:"retry_after_ms"`
		}
		_ = json.Unmarshal(a.body, &said) // without it, a second
		pause := time.Duration(said.After) * time.Millisecond
		if pause <= 0 || pause > time.Minute {
			pause = time.Second
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
	return answer{}, fmt.Errorf("%s %s: is limited all the time", r.method, short(r.target))
}

func (s *suite) once(ctx context.Context, r request) (answer, error) {
	began := time.Now()
	base := r.base
	if base == "" {
		base = s.URL
	}
	at, hops := base+r.target, []string{}
	for {
		a, err := s.exchange(ctx, r, at)
		if err != nil {
			return a, fmt.Errorf("%s %s: %w", r.method, short(r.target), err)
		}
		a.hops, a.took, a.asked = hops, time.Since(began), r.method+" "+short(r.target)
		if !r.follow || a.status != http.StatusTemporaryRedirect {
			return a, nil
		}
		if len(hops) == maxHops {
			return a, fmt.Errorf("%s: it was sent on more than %d times", a.asked, maxHops)
		}
		here, err := url.Parse(at)
		if err != nil {
			return a, err
		}
		next, err := here.Parse(a.header.Get("Location"))
		if err != nil || a.header.Get("Location") == "" {
			return a, fmt.Errorf("%s: it was sent on to %q", a.asked, a.header.Get("Location"))
		}
		// Clients send a token on to the same host alone.
		if next.Host != here.Host {
			r.token = ""
		}
		at = next.String()
		hops = append(hops, next.EscapedPath())
	}
}

// exchange makes one request at an address, whose path goes out as it is written.
func (s *suite) exchange(ctx context.Context, r request, at string) (a answer, err error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return a, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, at, body)
	if err != nil {
		return a, err
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return a, errors.Unwrap(err) // without the URL, which is long
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, header: resp.Header, proto: resp.Proto, address: at}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	a.size = len(a.body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(a.body))
		if err != nil {
			return a, err
		}
		if a.body, err = io.ReadAll(z); err != nil {
			return a, err
		}
	}
	return a, nil
}

// short is a target as far as a person reads it.
func short(target string) string {
	if len(target) > 120 {
		return target[:120] + "…"
	}
	return target
}

// json returns the answer as an object, or an error unless it has the status.
func (a answer) json(status int) (object, error) {
	var o object
	err := json.Unmarshal(a.body, &o)
	if a.status != status {
		return o, fmt.Errorf("%s answers %d %s, and not %d", a.asked, a.status, short(string(a.body)), status)
	}
	if err != nil {
		return nil, fmt.Errorf("%s answers what is no JSON: %s", a.asked, short(string(a.body)))
	}
	return o, nil
}

// refused returns an error unless the answer is the Matrix error.
func (a answer) refused(status int, errcode string) error {
	o, err := a.json(status)
	if err == nil && o["errcode"] != errcode {
		err = fmt.Errorf("%s answers %d %v, and not %s", a.asked, a.status, o["errcode"], errcode)
	}
	return err
}

// call makes a request and returns the object of its answer, which must be 200.
func (s *suite) call(ctx context.Context, r request) (object, error) {
	a, err := s.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return a.json(http.StatusOK)
}

const v3 = "/_matrix/client/v3"

// escaped writes a text as one segment of a path, with all but unreserved characters
// escaped, as clients do.
func escaped(text string) string {
	if text == "." || text == ".." { // would be steps of the path
		return strings.ReplaceAll(text, ".", "%2E")
	}
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(text))
}

// with adds headers to a request.
func (r request) with(header map[string]string) request {
	r.header = maps.Clone(r.header)
	if r.header == nil {
		r.header = map[string]string{}
	}
	maps.Copy(r.header, header)
	return r
}

func str(o object, path ...string) string {
	var v any = o
	for _, key := range path {
		m, _ := v.(object)
		v = m[key]
	}
	s, _ := v.(string)
	return s
}
