// Package cloudfront is a CloudFront distribution on this machine: it finds the
// behaviour of a request by its path, runs the real program of the function that
// the behaviour names, and passes the request on to an origin. It keeps nothing,
// and refuses a distribution that would.
package cloudfront

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of CloudFront.
const (
	maxURL     = 8192
	maxRequest = 32 << 10 // of line and headers
)

// Config is the DistributionConfig of a template, resolved.
type Config struct {
	Enabled              bool
	Origins              []Origin
	DefaultCacheBehavior Behaviour
	CacheBehaviors       []Behaviour
	CustomErrorResponses []struct {
		ErrorCode          int
		ErrorCachingMinTTL *float64
	}
}

// Origin is where requests go.
type Origin struct {
	ID                  string `json:"Id"`
	DomainName          string
	OriginCustomHeaders []struct{ HeaderName, HeaderValue string }
	CustomOriginConfig  *struct{ OriginReadTimeout int }
}

// Behaviour is how requests for some paths are treated.
type Behaviour struct {
	PathPattern           string
	TargetOriginID        string `json:"TargetOriginId"`
	AllowedMethods        []string
	CachePolicyID         string `json:"CachePolicyId"`
	OriginRequestPolicyID string `json:"OriginRequestPolicyId"`
	FunctionAssociations  []struct {
		EventType   string
		FunctionARN string
	}
}

// CachePolicy is the part of a cache policy that decides whether anything is kept.
type CachePolicy struct {
	MinTTL, DefaultTTL, MaxTTL float64
}

// Options are what a distribution needs besides its configuration.
type Options struct {
	Domain string
	// Functions are the programs by the ARN of the function.
	Functions map[string]*Program
	// Policies are the stack's own cache policies by id.
	Policies map[string]CachePolicy
	// Origins answer by host name.
	Origins map[string]http.Handler
	// Complain is told what only the owner of the distribution would see.
	Complain func(format string, args ...any)
}

// Distribution is a CloudFront distribution.
type Distribution struct {
	c      Config
	o      Options
	asSent bool
}

// cacheable are the statuses of errors that CloudFront keeps unless it is told
// not to.
var cacheable = []int{400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}

// allViewerExceptHost is AWS's own origin request policy of that name.
const allViewerExceptHost = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

// New returns the distribution, or what CloudFront would do that must not be done.
func New(c Config, o Options) (*Distribution, error) {
	d := &Distribution{c: c, o: o}
	if !c.Enabled {
		return nil, fmt.Errorf("the distribution is not enabled")
	}
	for _, status := range cacheable {
		off := false
		for _, e := range c.CustomErrorResponses {
			off = off || e.ErrorCode == status && e.ErrorCachingMinTTL != nil && *e.ErrorCachingMinTTL == 0
		}
		if !off {
			return nil, fmt.Errorf("CloudFront keeps answers of status %d for ten seconds", status)
		}
	}
	for _, b := range append(slices.Clone(c.CacheBehaviors), c.DefaultCacheBehavior) {
		policy, ok := o.Policies[b.CachePolicyID]
		switch origin := d.origin(b); {
		case !ok:
			return nil, fmt.Errorf("behaviour %q: no cache policy %s in the stack", b.PathPattern, b.CachePolicyID)
		case policy.MinTTL != 0 || policy.DefaultTTL != 0 || policy.MaxTTL > 1:
			return nil, fmt.Errorf("behaviour %q: the cache policy keeps answers: %+v", b.PathPattern, policy)
		case b.OriginRequestPolicyID != allViewerExceptHost:
			return nil, fmt.Errorf("behaviour %q: the origin request policy %s is not known here", b.PathPattern, b.OriginRequestPolicyID)
		case origin == nil:
			return nil, fmt.Errorf("behaviour %q: no origin %s", b.PathPattern, b.TargetOriginID)
		case o.Origins[origin.DomainName] == nil:
			return nil, fmt.Errorf("behaviour %q: nothing answers as %s", b.PathPattern, origin.DomainName)
		}
		for _, f := range b.FunctionAssociations {
			if f.EventType != "viewer-request" || o.Functions[f.FunctionARN] == nil {
				return nil, fmt.Errorf("behaviour %q: the function %s at %s is not known here", b.PathPattern, f.FunctionARN, f.EventType)
			}
		}
	}
	return d, nil
}

func (d *Distribution) origin(b Behaviour) *Origin {
	for i := range d.c.Origins {
		if d.c.Origins[i].ID == b.TargetOriginID {
			return &d.c.Origins[i]
		}
	}
	return nil
}

// AsSent returns the same distribution with behaviours that match paths as they
// were sent. The documentation says otherwise, but nothing should depend on it.
func (d *Distribution) AsSent() *Distribution { return &Distribution{c: d.c, o: d.o, asSent: true} }

// Match returns the behaviour of a path that is written as it was sent.
// CloudFront normalises a path as RFC 3986 says before it looks for the
// behaviour, and then passes it on as it was sent.
func (d *Distribution) Match(sent string) Behaviour {
	if !d.asSent {
		sent = normal(sent)
	}
	for _, b := range d.c.CacheBehaviors {
		if fits(strings.TrimPrefix(b.PathPattern, "/"), strings.TrimPrefix(sent, "/")) {
			return b
		}
	}
	return d.c.DefaultCacheBehavior
}

// normal undoes escapes that nothing needs, and takes away dots and slashes.
func normal(sent string) string {
	var out strings.Builder
	for i := 0; i < len(sent); i++ {
		if sent[i] == '%' && i+2 < len(sent) {
			if c, err := strconv.ParseUint(sent[i+1:i+3], 16, 8); err == nil {
				if isUnreserved(byte(c)) {
					out.WriteByte(byte(c))
				} else {
					out.WriteString(strings.ToUpper(sent[i : i+3]))
				}
				i += 2
				continue
			}
		}
		out.WriteByte(sent[i])
	}
	clean := path.Clean("/" + out.String())
	if strings.HasSuffix(out.String(), "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// fits reports whether a path fits a pattern of * and ?.
func fits(pattern, path string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for i := 0; i <= len(path); i++ {
				if fits(pattern[1:], path[i:]) {
					return true
				}
			}
			return false
		case '?':
			if path == "" {
				return false
			}
		default:
			if path == "" || path[0] != pattern[0] {
				return false
			}
		}
		pattern, path = pattern[1:], path[1:]
	}
	return path == ""
}

// Request is a request on its way: what the client sent, or what a function made
// of it.
type Request struct {
	Method string
	URI    string // path, and the query after a ? if there is one
	Header http.Header
	IP     string
}

// Response is an answer that a function gave itself.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// requestID stands for what CloudFront calls a request, to its origin and to the
// client.
const requestID = "nBbWLJ5FHRN1obfoimcnqqNAIyAPqEsYSRzUiPOPyQNr1DWWPDdQAA=="

// ServeHTTP answers a request.
func (d *Distribution) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amz-Cf-Id", requestID)
	uri, _, _ := strings.Cut(r.RequestURI, "?")
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n")
	for name, values := range r.Header {
		n += (len(name) + len(": \r\n")) * len(values)
		n += len(strings.Join(values, ""))
	}
	b := d.Match(uri)
	switch {
	case len(r.RequestURI) > maxURL:
		refuse(w, http.StatusRequestURITooLong)
		return
	case n > maxRequest:
		refuse(w, http.StatusRequestHeaderFieldsTooLarge)
		return
	case !slices.Contains(b.AllowedMethods, r.Method):
		refuse(w, http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	if len(body) > 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		refuse(w, http.StatusForbidden)
		return
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	req := &Request{Method: r.Method, URI: r.RequestURI, Header: r.Header.Clone(), IP: ip}
	for _, name := range []string{"Connection", "Expect", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Accept-Encoding"} {
		req.Header.Del(name)
	}
	req.Header.Set("Host", d.o.Domain)
	for _, f := range b.FunctionAssociations {
		answer, err := d.o.Functions[f.FunctionARN].Run(req)
		if err != nil {
			d.o.Complain("the function of CloudFront fails for %s %s: %v", r.Method, r.RequestURI, err)
			refuse(w, http.StatusServiceUnavailable)
			return
		}
		if answer != nil {
			for name, values := range answer.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(answer.Status)
			_, _ = io.WriteString(w, answer.Body) // the client may have gone
			return
		}
	}
	d.forward(w, r, d.origin(b), req, body)
}

func (d *Distribution) forward(w http.ResponseWriter, r *http.Request, o *Origin, req *Request, body []byte) {
	out, err := http.NewRequestWithContext(r.Context(), req.Method, "http://"+o.DomainName+"/", bytes.NewReader(body))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	out.RequestURI = req.URI
	sent, query, _ := strings.Cut(req.URI, "?")
	plain, err := url.PathUnescape(sent)
	if err != nil {
		plain = sent
	}
	out.URL = &url.URL{Scheme: "https", Host: o.DomainName, Path: plain, RawPath: sent, RawQuery: query}
	out.Header = req.Header
	out.Header.Del("Host")
	out.Header.Set("Accept-Encoding", "br,gzip")
	out.Header.Set("Via", "1.1 7f418f0a5b8f4a4f8a5c1e2d3b4a5968.cloudfront.net (CloudFront)")
	out.Header.Set("X-Amz-Cf-Id", requestID)
	out.Header.Add("X-Forwarded-For", req.IP)
	for _, h := range o.OriginCustomHeaders {
		out.Header.Set(h.HeaderName, h.HeaderValue)
	}
	out.RemoteAddr = "64.252.64.1:443" // CloudFront's own
	answer := &checked{ResponseWriter: w, about: req.Method + " " + req.URI, complain: d.o.Complain}
	d.o.Origins[o.DomainName].ServeHTTP(answer, out)
	if !answer.done {
		answer.WriteHeader(http.StatusOK)
	}
}

// checked complains of answers that a cache may keep though nobody said so: with
// a shortest time of zero, CloudFront sends one of them to all who ask at once.
type checked struct {
	http.ResponseWriter
	about    string
	complain func(format string, args ...any)
	done     bool
}

func (c *checked) WriteHeader(status int) {
	if !c.done {
		c.done = true
		said := c.Header().Get("Cache-Control")
		ours := c.Header().Get("Access-Control-Allow-Origin") != "" // AWS's own answers say nothing
		if ours && !strings.Contains(said, "no-store") && !strings.Contains(said, "private") && !strings.Contains(said, "public") {
			c.complain("CloudFront may keep the answer to %s: status %d, Cache-Control %q", c.about, status, said)
		}
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *checked) Write(b []byte) (int, error) {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap lets an http.ResponseController flush what is behind.
func (c *checked) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// refuse is an answer of CloudFront's own, an HTML page.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("X-Cache", "Error from cloudfront")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>%d ERROR</H1></BODY></HTML>\n", status)
}
