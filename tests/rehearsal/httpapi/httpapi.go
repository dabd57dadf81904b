// Package httpapi is an HTTP API of API Gateway on this machine, read from the
// OpenAPI definition that a stack imports. Its faults are part of it: it decodes
// a path before it routes it, takes %2F for a slash, and cuts at a decoded ?.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/proxyevent"
)

// Limits of an HTTP API.
const (
	maxHead    = 10240            // bytes of the request line and all headers
	maxBody    = 10 << 20         // bytes of a body
	maxTimeout = 30 * time.Second // of an integration
)

// Options are what an API needs besides its definition.
type Options struct {
	ID, Account, Region string
	// Invoke runs a function with the role of an integration.
	Invoke func(ctx context.Context, role, function string, event []byte) ([]byte, error)
	// Call runs an integration with another service.
	Call func(ctx context.Context, c Call) (*http.Response, error)
	// Served is told how each request ended: which integration, what it took.
	Served func(s Served)
	// Complain is told what only the owner of the API would see.
	Complain func(format string, args ...any)
}

// Call is a call of another service by the gateway itself.
type Call struct {
	Subtype    string            // such as SQS-ReceiveMessage
	Role       string            // ARN of the role
	Parameters map[string]string // resolved
}

// Served is a request that was answered.
type Served struct {
	RouteKey, Integration string
	Status                int
	In, Out               int64
}

// API is an HTTP API.
type API struct {
	o            Options
	routes       []Route
	integrations map[string]*Integration
}

// Route is a route of an API.
type Route struct {
	Method, Path string // ANY is every method; the path $default is all the rest
	Integration  *Integration
}

// Key is the route key.
func (r Route) Key() string {
	if r.Path == fallback {
		return fallback
	}
	return r.Method + " " + r.Path
}

const (
	fallback  = "$default"
	anyMethod = "ANY"
)

// Integration is what answers the requests of routes.
type Integration struct {
	Name               string
	Function           string // of a proxy; else
	Subtype            string
	Role               string
	RequestParameters  map[string]string
	ResponseParameters map[string]map[string]string // by status
	Timeout            time.Duration
}

type definition struct {
	Paths      map[string]map[string]operation
	Components struct {
		Integrations map[string]json.RawMessage `json:"x-amazon-apigateway-integrations"`
	}
}

type operation struct {
	Integration json.RawMessage `json:"x-amazon-apigateway-integration"`
}

const reference = "#/components/x-amazon-apigateway-integrations/"

// New reads the resolved definition of an API.
func New(body any, o Options) (*API, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var def definition
	if err := json.Unmarshal(text, &def); err != nil {
		return nil, fmt.Errorf("definition of an API: %w", err)
	}
	a := &API{o: o, integrations: map[string]*Integration{}}
	for path, operations := range def.Paths {
		for method, op := range operations {
			r := Route{Method: strings.ToUpper(method), Path: path}
			if method == "x-amazon-apigateway-any-method" {
				r.Method = anyMethod
			}
			if path == "/$default" {
				r.Path = fallback
			}
			if r.Integration, err = a.integration(def, op.Integration); err != nil {
				return nil, fmt.Errorf("%s: %w", r.Key(), err)
			}
			a.routes = append(a.routes, r)
		}
	}
	return a, nil
}

var invocation = regexp.MustCompile(`^arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/arn:aws:lambda:[^:]+:\d+:function:([^/:]+)/invocations$`)

// integration reads an integration, or finds the one that is referred to.
func (a *API) integration(def definition, raw json.RawMessage) (*Integration, error) {
	var in struct {
		Ref                  string `json:"$ref"`
		Type                 string
		URI                  string
		Credentials          string
		IntegrationSubtype   string
		PayloadFormatVersion string
		TimeoutInMillis      int
		RequestParameters    map[string]string
		ResponseParameters   map[string]map[string]string
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("integration: %w", err)
	}
	if in.Ref != "" {
		name, ok := strings.CutPrefix(in.Ref, reference)
		if !ok || def.Components.Integrations[name] == nil {
			return nil, fmt.Errorf("there is no integration %s", in.Ref)
		}
		if a.integrations[name] == nil {
			i, err := a.integration(def, def.Components.Integrations[name])
			if err != nil {
				return nil, err
			}
			i.Name = name
			a.integrations[name] = i
		}
		return a.integrations[name], nil
	}
	i := &Integration{
		Subtype: in.IntegrationSubtype, Role: in.Credentials,
		RequestParameters: in.RequestParameters, ResponseParameters: in.ResponseParameters,
		Timeout: time.Duration(in.TimeoutInMillis) * time.Millisecond,
	}
	if i.Timeout == 0 {
		i.Timeout = maxTimeout
	}
	switch m := invocation.FindStringSubmatch(in.URI); {
	case !strings.EqualFold(in.Type, "AWS_PROXY"):
		return nil, fmt.Errorf("an integration of type %q", in.Type)
	case i.Timeout < 50*time.Millisecond || i.Timeout > maxTimeout:
		return nil, fmt.Errorf("a timeout of %s", i.Timeout)
	case in.IntegrationSubtype != "" && in.PayloadFormatVersion != "1.0":
		return nil, fmt.Errorf("%s with the payload format %q", in.IntegrationSubtype, in.PayloadFormatVersion)
	case in.IntegrationSubtype != "":
		i.Name = in.IntegrationSubtype
	case m == nil:
		return nil, fmt.Errorf("%q is not the invocation of a function", in.URI)
	case in.PayloadFormatVersion != "2.0":
		return nil, fmt.Errorf("a function with the payload format %q", in.PayloadFormatVersion)
	default:
		i.Function, i.Name = m[1], m[1]
	}
	return i, nil
}

// Routes returns the routes, in no order.
func (a *API) Routes() []Route { return a.routes }

// Find returns the route that a request takes, whose path is written as it was
// sent, and its parameters. ok is false if the API has no $default.
func (a *API) Find(method, path string) (r Route, parameters map[string]string, ok bool) {
	path = Seen(path)
	best := ""
	for _, candidate := range a.routes {
		if candidate.Path == fallback {
			if best == "" {
				r, ok = candidate, true
			}
			continue
		}
		if candidate.Method != method && candidate.Method != anyMethod {
			continue
		}
		shape := Fit(candidate.Path, path)
		if shape == "" {
			continue
		}
		if candidate.Method != anyMethod {
			shape += "+"
		}
		if shape > best {
			best, r, ok = shape, candidate, true
		}
	}
	return r, values(r.Path, path), ok
}

// Seen is what the gateway makes of a path before it looks for its route.
func Seen(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	path, _, _ = strings.Cut(path, "?")
	return path
}

// Fit returns how well a path fits the path of a route, a letter for each
// segment and the greater the better, or nothing.
func Fit(route, path string) string {
	want, have := strings.Split(route, "/"), strings.Split(path, "/")
	var shape strings.Builder
	for i, w := range want {
		switch {
		case strings.HasSuffix(w, "+}"):
			if i >= len(have) || i == len(have)-1 && have[i] == "" {
				return ""
			}
			return shape.String() + "a"
		case i >= len(have):
			return ""
		case strings.HasPrefix(w, "{") && have[i] != "":
			shape.WriteByte('b')
		case w == have[i]:
			shape.WriteByte('c')
		default:
			return ""
		}
	}
	if len(have) != len(want) {
		return ""
	}
	return shape.String()
}

func values(route, path string) map[string]string {
	found := map[string]string{}
	have := strings.Split(path, "/")
	for i, w := range strings.Split(route, "/") {
		name, isParameter := strings.CutPrefix(w, "{")
		switch {
		case !isParameter:
		case strings.HasSuffix(name, "+}"):
			found[strings.TrimSuffix(name, "+}")] = strings.Join(have[i:], "/")
		default:
			found[strings.TrimSuffix(name, "}")] = have[i]
		}
	}
	return found
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &counting{ResponseWriter: w}
	s := Served{}
	defer func() {
		s.Status, s.Out = c.status, c.n
		if a.o.Served != nil {
			a.o.Served(s)
		}
	}()
	w.Header().Set("Apigw-Requestid", "JKJaXmPLvHcESHA=")
	if headBytes(r) > maxHead {
		own(c, http.StatusRequestHeaderFieldsTooLarge, "Request Header Fields Too Large")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		own(c, http.StatusBadRequest, "Bad Request")
		return
	}
	s.In = int64(len(body))
	if len(body) > maxBody {
		own(c, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	route, parameters, ok := a.Find(r.Method, path)
	if !ok {
		own(c, http.StatusNotFound, "Not Found")
		return
	}
	i := route.Integration
	s.RouteKey, s.Integration = route.Key(), i.Name
	ctx, cancel := context.WithTimeout(r.Context(), i.Timeout)
	defer cancel()
	if i.Subtype != "" {
		a.call(ctx, c, i, source{r, body, parameters, a.o})
		return
	}
	event, err := proxyevent.Encode(r, body, proxyevent.Request{
		RouteKey: route.Key(), Path: Seen(path), Query: query, Parameters: parameters,
		APIID: a.o.ID, Domain: a.domain(), SourceIP: sourceIP(r), Account: a.o.Account, RequestID: "JKJaXmPLvHcESHA=",
	})
	var payload []byte
	if err == nil {
		payload, err = a.o.Invoke(ctx, i.Role, i.Function, event)
	}
	if err == nil {
		err = proxyevent.Write(c, payload)
	}
	a.failed(ctx, c, i, err)
}

// failed answers for an integration that did not.
func (a *API) failed(ctx context.Context, w http.ResponseWriter, i *Integration, err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, lambda.ErrTooLarge):
		own(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		own(w, http.StatusServiceUnavailable, "Service Unavailable")
	default:
		own(w, http.StatusInternalServerError, "Internal Server Error")
	}
	if ctx.Err() != context.Canceled {
		a.o.Complain("the gateway gets no answer from %s: %v", i.Name, err)
	}
}

func (a *API) domain() string {
	return a.o.ID + ".execute-api." + a.o.Region + ".amazonaws.com"
}

// own is an answer of the gateway itself, which nothing can change.
func own(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client may have gone
}

func headBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

func sourceIP(r *http.Request) string {
	host, _, _ := strings.Cut(r.RemoteAddr, ":")
	return host
}

// counting counts what is written.
type counting struct {
	http.ResponseWriter
	status int
	n      int64
}

func (c *counting) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counting) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.n += int64(n)
	return n, err
}
