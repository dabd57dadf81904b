package route

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
)

// Caller is who makes the request.
type Caller struct {
	// Session is the session of the access token; its UserID is empty for
	// routes that may be called without one.
	accounts.Session
	// IP is the address of the client, as the front door saw it.
	IP string
	// UserAgent is what the client says it is.
	UserAgent string
	// RequestID is in the log line of the request.
	RequestID string
}

// Network is what limits by address count: an IPv6 network of 64 bits, since
// whoever has an IPv6 address has that many, and otherwise the address.
func (c Caller) Network() string {
	a, err := netip.ParseAddr(c.IP)
	if err != nil {
		return c.IP
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	n, err := a.WithZone("").Prefix(64)
	if err != nil {
		return c.IP
	}
	return n.String()
}

// Handler answers the requests of a route. There are three kinds: Handle, Raw and
// Poll.
type Handler interface {
	// serve answers, or returns an error while nothing has been written yet.
	serve(ctx context.Context, rt *Runtime, route *Route, c Caller, w http.ResponseWriter, r *http.Request) error
	// Schema returns the types of request and response, nil if there is none.
	Schema() (req, resp reflect.Type)
}

// Select picks the domain service that a handler works with.
type Select[S any] func(*home.Server) *S

// Handle is the usual kind of handler: JSON in, JSON out.
//
// The fields of Req are filled from the path (tag `path:"roomId"`), the query
// (`query:"dir"`) and the JSON body (`json:"…"`), or the whole body into one
// json.RawMessage (`body:"json"`, which must then be a JSON object). With
// `required:"true"` an absent value is M_MISSING_PARAM. A field of type
// http.Header tagged `header:"*"` gets the headers. Req may be Weighed. Resp is
// encoded as JSON; it
// may have a method Status() int, and a method Headers(http.Header), or a method
// WriteJSON(context.Context, io.Writer) error that writes it piece by piece.
func Handle[S, Req, Resp any](sel Select[S], fn func(context.Context, *S, Caller, *Req) (*Resp, error)) Handler {
	return &handle[S, Req, Resp]{sel: sel, fn: fn}
}

type handle[S, Req, Resp any] struct {
	sel Select[S]
	fn  func(context.Context, *S, Caller, *Req) (*Resp, error)
}

func (h *handle[S, Req, Resp]) Schema() (reflect.Type, reflect.Type) {
	return reflect.TypeFor[Req](), reflect.TypeFor[Resp]()
}

func (h *handle[S, Req, Resp]) serve(ctx context.Context, rt *Runtime, _ *Route, c Caller, w http.ResponseWriter, r *http.Request) error {
	req := new(Req)
	if err := decode(r, req); err != nil {
		return err
	}
	if err := rt.weigh(req, c); err != nil {
		return err
	}
	resp, err := h.fn(ctx, h.sel(rt.Server), c, req)
	if err != nil {
		return err
	}
	return writeJSON(ctx, w, resp)
}

// Raw is for handlers that are not JSON in, JSON out: media, pages, redirects.
// An error is answered only if nothing was written before it.
func Raw[S any](sel Select[S], fn func(context.Context, *S, Caller, http.ResponseWriter, *http.Request) error) Handler {
	return &raw[S]{sel, fn}
}

type raw[S any] struct {
	sel Select[S]
	fn  func(context.Context, *S, Caller, http.ResponseWriter, *http.Request) error
}

func (h *raw[S]) Schema() (reflect.Type, reflect.Type) { return nil, nil }

func (h *raw[S]) serve(ctx context.Context, rt *Runtime, _ *Route, c Caller, w http.ResponseWriter, r *http.Request) error {
	return h.fn(ctx, h.sel(rt.Server), c, w, r)
}

// Waits is implemented by the requests of Poll handlers: what wakes the caller,
// and how long the client is willing to wait.
type Waits interface {
	Waits(c Caller) (keys []string, timeout time.Duration)
}

// resumes is implemented by the requests of Poll handlers that do something at their
// first look alone: that of a request which finishes a wait elsewhere is not it.
type resumes interface{ Resumed() }

// wakesToo is implemented by the responses of Poll handlers that found further
// keys which wake the caller.
type wakesToo interface{ WakeKeys() []string }

// looksAgain is implemented by the responses of Poll handlers that know of a time
// at which there is something to answer although nobody wakes the caller; zero
// means that there is none. Once it has passed, the next look has to find
// something, or another time.
type looksAgain interface{ LooksAgain() time.Time }

// Poll is for requests that wait: look answers what there is now, and whether
// that is worth answering before the time is up. Nothing else is needed; the
// route layer arms, looks again, holds, and looks for the last time. Where the
// client waits elsewhere the last look is another request (see hold.go), which
// answers whatever there is: a client that was woken for something it filters out
// gets an empty answer, and asks again.
// A response may have a method WakeKeys() []string that tells of further keys, and
// LooksAgain() time.Time for what happens by the passing of time.
func Poll[S any, Req any, Resp any, P interface {
	*Req
	Waits
}](sel Select[S], look func(context.Context, *S, Caller, *Req) (resp *Resp, ready bool, err error)) Handler {
	return &poll[S, Req, Resp, P]{sel, look}
}

type poll[S, Req, Resp any, P interface {
	*Req
	Waits
}] struct {
	sel  Select[S]
	look func(context.Context, *S, Caller, *Req) (*Resp, bool, error)
}

func (h *poll[S, Req, Resp, P]) polls() {}

func (h *poll[S, Req, Resp, P]) Schema() (reflect.Type, reflect.Type) {
	return reflect.TypeFor[Req](), reflect.TypeFor[Resp]()
}

func (h *poll[S, Req, Resp, P]) serve(ctx context.Context, rt *Runtime, route *Route, c Caller, w http.ResponseWriter, r *http.Request) error {
	req := new(Req)
	if err := decode(r, req); err != nil {
		return err
	}
	if again, ok := any(req).(resumes); ok && route.finishes(r) {
		again.Resumed()
	}
	svc := h.sel(rt.Server)
	resp, ready, err := h.look(ctx, svc, c, req)
	if err != nil {
		return err
	}
	keys, timeout := P(req).Waits(c)
	timeout = min(timeout, rt.MaxHold)
	if route.finishes(r) {
		if who, ok := rt.Waiter.(wake.Returned); ok {
			if err := who.Returned(ctx, r.PathValue("place"), keys); err != nil {
				rt.Log.LogAttrs(ctx, slog.LevelWarn, "return of a client not noted", slog.String("err", err.Error()))
			}
		}
		return writeJSON(ctx, w, resp)
	}
	if ready || timeout <= 0 {
		return writeJSON(ctx, w, resp)
	}
	if rt.Limits != nil {
		done, err := rt.Limits.wait(c.UserID)
		if err != nil {
			return err
		}
		defer done()
	}
	until := rt.Clock.Now().Add(timeout)
	keys, _ = withKeysOf(resp, keys)
	back := route.ticket(r, until)
	wait := wake.Wait{Keys: keys, Until: earliest(resp, until)}
	if back != "" {
		wait.Connection = route.connection(r)
	}
	armed, err := rt.Waiter.Arm(ctx, wait)
	if err != nil {
		return err
	}
	defer func() { armed.Release() }()
	for {
		// Whatever was written before Arm is seen by this look, and whatever is
		// written after it ends the Hold.
		resp, ready, err = h.look(ctx, svc, c, req)
		if err != nil {
			return err
		}
		if ready || !rt.Clock.Now().Before(until) {
			return writeJSON(ctx, w, resp)
		}
		keys, more := withKeysOf(resp, wait.Keys)
		ends := earliest(resp, until)
		moved := !ends.Equal(wait.Until)
		wait.Keys, wait.Until = keys, ends
		if !more && !moved {
			out, err := armed.Hold(ctx)
			switch {
			case err != nil:
				return err
			case out.Elsewhere != "":
				sendAway(w, route.away(back, out.Elsewhere))
				return nil
			case !out.Woken && !ends.Before(until): // the time is up, not that of another look
				resp, _, err = h.look(ctx, svc, c, req)
				if err != nil {
					return err
				}
				return writeJSON(ctx, w, resp)
			}
		}
		// A wake is a hint, and may concern something that this request filters
		// out. Arm anew before looking, so that the next one counts.
		next, err := rt.Waiter.Arm(ctx, wait)
		if err != nil {
			return err
		}
		armed.Release()
		armed = next
	}
}

// earliest is when the response wants another look, or until.
func earliest(resp any, until time.Time) time.Time {
	if again, ok := resp.(looksAgain); ok {
		if at := again.LooksAgain(); !at.IsZero() && at.Before(until) {
			return at
		}
	}
	return until
}

// withKeysOf returns the keys and those that the response tells of, and whether
// any of these is new.
func withKeysOf(resp any, keys []string) (all []string, more bool) {
	if found, ok := resp.(wakesToo); ok {
		for _, k := range found.WakeKeys() {
			if !slices.Contains(keys, k) {
				keys, more = append(keys, k), true
			}
		}
	}
	return keys, more
}

// Empty is the response that has no fields, and the request that needs none.
type Empty struct{}

// WorkerHandler does the work of a Worker; it is made by OnChanges, OnMessages
// or OnTimer, whichever fits the trigger.
type WorkerHandler struct {
	changes  func(context.Context, *home.Server, []store.Change) error
	messages func(context.Context, *home.Server, queue.Message) error
	timer    func(context.Context, *home.Server) error
}

// OnChanges handles a batch of changes of a table. After an error the batch is
// delivered again.
func OnChanges[S any](sel Select[S], fn func(context.Context, *S, []store.Change) error) WorkerHandler {
	return WorkerHandler{changes: func(ctx context.Context, srv *home.Server, cs []store.Change) error {
		return fn(ctx, sel(srv), cs)
	}}
}

// OnMessages handles one message of a queue. After an error it is delivered
// again.
func OnMessages[S any](sel Select[S], fn func(context.Context, *S, queue.Message) error) WorkerHandler {
	return WorkerHandler{messages: func(ctx context.Context, srv *home.Server, m queue.Message) error {
		return fn(ctx, sel(srv), m)
	}}
}

// OnTimer handles the passing of an interval.
func OnTimer[S any](sel Select[S], fn func(context.Context, *S) error) WorkerHandler {
	return WorkerHandler{timer: func(ctx context.Context, srv *home.Server) error { return fn(ctx, sel(srv)) }}
}

// writesJSON is implemented by responses that are more than memory should hold, and
// that write themselves. An error before the first byte is answered as usual, a later
// one cuts the answer off.
type writesJSON interface {
	WriteJSON(ctx context.Context, w io.Writer) error
}

// client is where an answer goes, and remembers whether somebody is still there.
type client struct {
	io.Writer
	gone error
}

func (c *client) Write(b []byte) (n int, err error) {
	n, err = c.Writer.Write(b)
	if err != nil {
		c.gone = err
	}
	return n, err
}

func writeJSON(ctx context.Context, w http.ResponseWriter, resp any) error {
	if h, ok := resp.(interface{ Headers(http.Header) }); ok {
		h.Headers(w.Header())
	}
	status := http.StatusOK
	if s, ok := resp.(interface{ Status() int }); ok {
		status = s.Status()
	}
	if long, ok := resp.(writesJSON); ok {
		w.Header().Set("Content-Type", "application/json")
		to := &client{Writer: w}
		if err := long.WriteJSON(ctx, to); err != nil && to.gone == nil {
			return err
		}
		return nil // the client may be gone, which is no error of ours
	}
	body, err := marshal(resp)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone, which is no error of ours
	return nil
}
