package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/segmentio/ksuid"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
)

// Runtime is what every route runs in: the same in the local process and in a
// function. Its fields are not changed once it serves.
type Runtime struct {
	Server *home.Server
	Waiter wake.Waiter
	Clock  clock.Clock
	Log    *slog.Logger
	// Limits holds the rate limits; nil turns them off.
	Limits *Limits
	// MaxHold bounds how long a request may wait.
	MaxHold time.Duration
	// Recorder collects what grants are used; nil outside tests.
	Recorder *grant.Recorder
	// OnRequest, if set, is told what each request cost, once it is answered.
	OnRequest func(name string, status int, took time.Duration, c store.Capacity)
}

// Mux answers all the routes. What no route declares is 404 M_UNRECOGNIZED, and
// a declared path with another method 405 M_UNRECOGNIZED, as the specification
// asks; both are JSON with CORS headers like everything else.
func Mux(rt *Runtime, routes []Route) http.Handler {
	mux := http.NewServeMux()
	for i := range routes {
		r := &routes[i]
		h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { rt.serve(r, w, req) })
		for _, p := range r.Patterns() {
			mux.Handle(p, h)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		cors(w.Header())
		if req.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		// ServeMux would redirect a path such as //x to /x; here it is unknown.
		escaped := req.URL.EscapedPath()
		if clean := path.Clean(escaped); clean != escaped && (clean == "/" || clean+"/" != escaped) {
			rt.unrecognized(w, req, http.StatusNotFound, "There is no endpoint at this path.")
			return
		}
		h, pattern := mux.Handler(req)
		// Nor does a path become another one that ends in a slash, as it would if it
		// lacks that slash, or ends in %2F.
		slash := strings.HasSuffix(pattern, "/{$}") && !strings.HasSuffix(escaped, "/")
		switch {
		case slash:
			rt.unrecognized(w, req, http.StatusNotFound, "There is no endpoint at this path.")
			return
		case pattern != "":
			mux.ServeHTTP(w, req)
			return
		}
		probe := &headWriter{header: http.Header{}}
		h.ServeHTTP(probe, req)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			rt.unrecognized(w, req, http.StatusMethodNotAllowed, fmt.Sprintf("This endpoint does not answer %s; it answers %s.", clip(req.Method), probe.header.Get("Allow")))
			return
		}
		rt.unrecognized(w, req, http.StatusNotFound, "There is no such endpoint on this server.")
	})
}

func (rt *Runtime) unrecognized(w http.ResponseWriter, req *http.Request, status int, sentence string) {
	rt.Log.LogAttrs(req.Context(), slog.LevelInfo, "request", slog.String("method", clip(req.Method)),
		slog.String("route", "unknown"), slog.String("path", clip(req.URL.EscapedPath())), slog.Int("status", status))
	writeError(w, mxerr.New(status, "M_UNRECOGNIZED", "%s", sentence))
}

// clip keeps of a stranger's text what tells a person enough; the log is paid by
// the byte.
func clip(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

// headWriter keeps the status and header of an answer, and drops its body.
type headWriter struct {
	header http.Header
	status int
}

func (w *headWriter) Header() http.Header         { return w.header }
func (w *headWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *headWriter) WriteHeader(status int)      { w.status = status }

// cors sets what browsers need to talk to a homeserver.
//
// https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
func cors(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match")
	h.Set("Access-Control-Expose-Headers", "ETag, Location, Retry-After")
	h.Set("Access-Control-Max-Age", "86400")
	// Answers are private to a token; no cache between may keep them.
	h.Set("Cache-Control", "private, no-store")
}

// written notes whether the handler has begun to answer.
type written struct {
	http.ResponseWriter
	status int
}

func (w *written) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *written) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *written) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (rt *Runtime) serve(r *Route, rw http.ResponseWriter, req *http.Request) {
	start := rt.Clock.Now()
	w := &written{ResponseWriter: rw}
	c := Caller{IP: clientIP(req), UserAgent: req.UserAgent(), RequestID: ksuid.New().String()}
	var meter store.Meter
	ctx := store.WithMeter(req.Context(), &meter)
	ctx = grant.With(ctx, r.Name, r.Grants(), rt.Recorder)
	req.Body = http.MaxBytesReader(rw, req.Body, MaxBody)

	err := guarded(func() error { return rt.answer(ctx, r, &c, w, req) })
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", req.Method), slog.String("route", r.Name), slog.String("request_id", c.RequestID),
	}
	if err != nil {
		e := mxerr.As(err)
		switch {
		case e != nil:
			attrs = append(attrs, slog.String("errcode", e.Code))
		case errors.Is(err, context.Canceled) && req.Context().Err() != nil:
			e = mxerr.New(499, "M_UNKNOWN", "The client closed the connection.")
		default:
			level = slog.LevelError
			attrs = append(attrs, slog.String("err", err.Error()))
			e = mxerr.Internal(c.RequestID)
		}
		if w.status == 0 {
			writeError(w, e)
		} else {
			// The status is out already; only a broken answer tells the client.
			defer panic(http.ErrAbortHandler)
		}
	}
	took := rt.Clock.Now().Sub(start)
	cost := meter.Total()
	if rt.OnRequest != nil {
		rt.OnRequest(r.Name, w.status, took, cost)
	}
	attrs = append(attrs, slog.Int("status", w.status), slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.Float64("ru", cost.Reads), slog.Float64("wu", cost.Writes))
	if c.UserID != "" {
		attrs = append(attrs, slog.String("user_id", c.UserID))
	}
	if r.finishes(req) {
		attrs = append(attrs, slog.String("after", "hold"))
	}
	rt.Log.LogAttrs(ctx, level, "request", attrs...)
}

func (rt *Runtime) answer(ctx context.Context, r *Route, c *Caller, w http.ResponseWriter, req *http.Request) error {
	if rt.Limits != nil && r.Limit.perAddress() {
		if err := rt.Limits.take(r.Limit, c.Network(), 1, rt.Clock.Now()); err != nil {
			return err
		}
	}
	if r.finishes(req) {
		var err error
		if req, err = r.resume(req, rt.Clock.Now()); err != nil {
			return err
		}
	}
	if r.Auth == AccessToken || r.Auth == Optional {
		token, err := accessToken(req)
		if err != nil {
			return err
		}
		switch {
		case token != "":
			if c.Session, err = rt.Server.Accounts.Authenticate(ctx, token); err != nil {
				return err
			}
			if err := r.admits(c.Session); err != nil {
				return err
			}
			if err := rt.Server.Accounts.Saw(ctx, c.Session, c.IP, c.UserAgent); err != nil {
				// That it cannot be noted is no reason to refuse the request.
				rt.Log.LogAttrs(ctx, slog.LevelWarn, "last use of a device not noted", slog.String("err", err.Error()))
			}
		case r.Auth == AccessToken:
			return mxerr.MissingToken()
		}
	}
	if rt.Limits != nil && !r.Limit.perAddress() {
		if err := rt.Limits.take(r.Limit, c.UserID, 1, rt.Clock.Now()); err != nil {
			return err
		}
	}
	return r.Handler.serve(ctx, rt, r, *c, w, req)
}

// guarded makes a panic an error, so that one request or one batch cannot end
// all the others.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// Grants is all that a request to the route may touch: what its handler uses,
// and what authentication and waiting need.
func (r Route) Grants() grant.Set {
	uses := r.Uses
	if r.Auth == AccessToken || r.Auth == Optional {
		uses = grant.Of(uses, accounts.Authenticates)
	}
	if r.Polls() {
		uses = grant.Of(uses, grant.Holds())
	}
	return uses
}

// accessToken finds the token in the Authorization header or, for old clients,
// in the query.
//
// https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
func accessToken(req *http.Request) (string, error) {
	if h := req.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", mxerr.New(http.StatusUnauthorized, "M_MISSING_TOKEN", "The Authorization header must be \"Bearer\" and an access token.")
		}
		return strings.TrimSpace(token), nil
	}
	if !strings.Contains(req.URL.RawQuery, "access_token=") {
		return "", nil
	}
	return req.URL.Query().Get("access_token"), nil
}

// clientIP is the peer's address. Front doors that know better replace
// RemoteAddr before the mux sees the request.
func clientIP(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return req.RemoteAddr
	}
	return host
}

func writeError(w http.ResponseWriter, e *mxerr.Error) {
	body, err := e.MarshalJSON()
	if err != nil {
		body = []byte(`{"errcode":"M_UNKNOWN","error":"Internal server error."}`)
	}
	if ms, ok := e.Fields["retry_after_ms"].(int64); ok {
		w.Header().Set("Retry-After", fmt.Sprint((ms+999)/1000))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_, _ = w.Write(body)
}

// RunChanges, RunMessage and RunTimer run the worker once, with its own grants
// and nothing of the caller's.
func (rt *Runtime) RunChanges(ctx context.Context, w Worker, cs []store.Change) error {
	return guarded(func() error { return w.Handler.changes(rt.workerContext(ctx, w), rt.Server, cs) })
}

// RunMessage runs a worker of a queue with one message.
func (rt *Runtime) RunMessage(ctx context.Context, w Worker, m queue.Message) error {
	return guarded(func() error { return w.Handler.messages(rt.workerContext(ctx, w), rt.Server, m) })
}

// RunTimer runs a worker that runs in intervals.
func (rt *Runtime) RunTimer(ctx context.Context, w Worker) error {
	return guarded(func() error { return w.Handler.timer(rt.workerContext(ctx, w), rt.Server) })
}

func (rt *Runtime) workerContext(ctx context.Context, w Worker) context.Context {
	return grant.With(ctx, w.Name, w.Uses, rt.Recorder)
}
