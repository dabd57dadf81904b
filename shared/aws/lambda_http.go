package aws

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// The headers that the front door sets, after it removed all others that begin
// with X-Virga-. Functions do not see them.
const (
	// URIHeader holds the path and query as the client sent them. The gateway
	// decodes both, while signatures of servers cover each byte.
	URIHeader = "X-Virga-Uri"
	// IPHeader holds the address of the client.
	IPHeader = "X-Virga-Ip"
	// SecretHeader proves that a request came through the door.
	SecretHeader = "X-Virga-Secret"
)

// SecretEnv is the environment variable with the Accepted of a Door, separated by
// commas.
const SecretEnv = "VIRGA_DOOR_SECRET"

// Door says which requests came through the front door. All others are refused:
// whoever found the address of a gateway or function could otherwise choose the
// client address that rate limits see, and get around what the door does. The zero
// value refuses everybody.
type Door struct {
	// Accepted are the secrets of which the door sends one in SecretHeader. There
	// are several so that the secret can change while the server is used: the
	// door needs minutes to follow.
	Accepted []string
	// URL is the address that clients should use, for those who are refused. It
	// may be empty.
	URL string
}

// DoorFromEnvironment returns the door of the function that the process runs as.
// A function without a secret must not start: everybody could reach it.
func DoorFromEnvironment(url string) (Door, error) {
	accepted := os.Getenv(SecretEnv)
	if accepted == "" {
		return Door{}, fmt.Errorf("the environment variable %s is not set: a function that answers HTTP takes only what comes through the front door", SecretEnv)
	}
	return Door{Accepted: strings.Split(accepted, ","), URL: url}, nil
}

// admits compares with all secrets, in a time that tells nothing of them.
func (d Door) admits(e *events.APIGatewayV2HTTPRequest) bool {
	sent, same := []byte(e.Headers[lowerSecretHeader]), 0
	for _, secret := range d.Accepted {
		if secret != "" {
			same |= subtle.ConstantTimeCompare(sent, []byte(secret))
		}
	}
	return same == 1
}

// refuse answers who came another way.
func (d Door) refuse(w http.ResponseWriter) {
	instead := "use the address of the server itself"
	if d.URL != "" {
		instead = "use " + d.URL
	}
	body, err := json.Marshal(map[string]string{"errcode": "M_FORBIDDEN", "error": "This address is not for clients: " + instead + " instead."})
	if err != nil {
		panic(err) // strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-store")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(body) // into memory
}

// The gateway writes the names of headers in lower case.
var (
	lowerURIHeader    = strings.ToLower(URIHeader)
	lowerIPHeader     = strings.ToLower(IPHeader)
	lowerSecretHeader = strings.ToLower(SecretHeader)
)

// HTTP makes a Function, for an HTTP API or a function URL, of a handler. The
// request has the client's address as RemoteAddr, and a context that ends a
// little before Lambda would end the process. Headers that were sent more than
// once arrive joined by commas, as the gateway does it.
//
// What comes by a function URL is answered piece by piece, as it is written; what
// comes by a gateway, at once. One function may be reached both ways.
func HTTP(d Door, h http.Handler) Function {
	return func(ctx context.Context, event []byte) (io.Reader, error) {
		var e events.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(event, &e); err != nil {
			return nil, fmt.Errorf("event of a gateway: %w", err)
		}
		ctx, cancel := inTime(ctx)
		x := exchange{method: e.RequestContext.HTTP.Method, serve: d.refuse}
		if d.admits(&e) {
			x.serve = served(ctx, &e, h)
		}
		if strings.Contains(e.RequestContext.DomainName, urlDomain) {
			return x.stream(ctx, cancel)
		}
		defer cancel()
		return whole(x.answer())
	}
}

// served is how the handler answers the event.
func served(ctx context.Context, e *events.APIGatewayV2HTTPRequest, h http.Handler) func(http.ResponseWriter) {
	req, err := request(ctx, e)
	if err != nil {
		return func(w http.ResponseWriter) {
			// What net/http answers to a request line that it cannot read.
			http.Error(w, "400 Bad Request", http.StatusBadRequest)
		}
	}
	return func(w http.ResponseWriter) { h.ServeHTTP(w, req) }
}

// exchange is a request that is about to be answered.
type exchange struct {
	method string
	serve  func(http.ResponseWriter)
}

// errBrokenOff is what Lambda is told of an answer that its handler broke off.
var errBrokenOff = errors.New("the answer was broken off")

// answer is all that is answered, in the form for a gateway.
func (x exchange) answer() (answer []byte, err error) {
	w := &recorder{head: head{header: http.Header{}}}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			answer, err = nil, errBrokenOff
		} else if p != nil {
			panic(p)
		}
	}()
	x.serve(w)
	return w.answer(x.method)
}

// request is the request as the client sent it to the door.
func request(ctx context.Context, e *events.APIGatewayV2HTTPRequest) (*http.Request, error) {
	uri, ip := requestURI(e), e.RequestContext.HTTP.SourceIP
	if v := e.Headers[lowerURIHeader]; strings.HasPrefix(v, "/") {
		uri = v
	}
	if v := e.Headers[lowerIPHeader]; v != "" {
		ip = v
	}
	// Two slashes would begin a host name; the path is all there is here.
	u, err := url.ParseRequestURI("http://host" + uri)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "", ""
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.URL, req.RequestURI, req.RemoteAddr = u, uri, net.JoinHostPort(ip, "0")
	for name, value := range e.Headers {
		if strings.HasPrefix(name, "x-virga-") {
			continue
		}
		req.Header.Set(name, value)
	}
	if len(e.Cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	if req.Host = req.Header.Get("Host"); req.Host == "" {
		req.Host = e.RequestContext.DomainName
	}
	req.Header.Del("Host") // as net/http does
	return req, nil
}

// requestURI is the URI as the gateway tells it. An HTTP API has decoded the
// path and a function URL has not, so a path that is no valid escaped one is
// taken as decoded.
func requestURI(e *events.APIGatewayV2HTTPRequest) string {
	u := url.URL{Path: e.RawPath}
	if path, err := url.PathUnescape(e.RawPath); err == nil {
		if escaped := (&url.URL{Path: path, RawPath: e.RawPath}); escaped.EscapedPath() == e.RawPath {
			u = *escaped
		}
	}
	uri := u.EscapedPath()
	if e.RawQueryString != "" {
		uri += "?" + e.RawQueryString
	}
	return uri
}

// head is what a ResponseWriter knows of an answer but for its body.
type head struct {
	header http.Header
	sent   http.Header // a copy of header as it was when the status was written
	status int
}

// Header implements http.ResponseWriter.
func (h *head) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter.
func (h *head) WriteHeader(status int) {
	if h.status == 0 && status >= 200 {
		h.status, h.sent = status, h.header.Clone()
	}
}

// bodyless reports whether the answer to the method has no body, whatever the
// handler writes.
func (h *head) bodyless(method string) bool {
	return method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
}

// answer is the answer without a body, of one that begins with these bytes.
func (h *head) answer(body []byte) httpAnswer {
	a := httpAnswer{StatusCode: h.status, Headers: map[string]string{}}
	if len(body) > 0 && h.sent.Get("Content-Type") == "" {
		h.sent.Set("Content-Type", http.DetectContentType(body))
	}
	for name, values := range h.sent {
		switch name {
		case "Set-Cookie":
			a.Cookies = values
		case "Content-Length": // Lambda and the gateway count
		default:
			a.Headers[name] = strings.Join(values, ", ")
		}
	}
	return a
}

// recorder is the ResponseWriter of an answer that is sent at once.
type recorder struct {
	head
	body bytes.Buffer
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// httpAnswer is the payload format 2.0 of an answer. Without a body it is also
// what precedes a body that is streamed.
type httpAnswer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers,omitempty"`
	Cookies         []string          `json:"cookies,omitempty"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded,omitempty"`
}

// maxAnswer is the largest payload that Lambda returns.
const maxAnswer = 6 << 20

func (w *recorder) answer(method string) ([]byte, error) {
	w.WriteHeader(http.StatusOK)
	body := w.body.Bytes()
	a := w.head.answer(body)
	switch {
	case w.bodyless(method):
	case utf8.Valid(body):
		a.Body = string(body)
	default:
		a.Body, a.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	payload, err := a.payload()
	if err != nil || len(payload) <= maxAnswer {
		return payload, err
	}
	// Lambda would refuse it with words that tell a client nothing.
	return httpAnswer{
		StatusCode: http.StatusInternalServerError,
		Headers:    a.withType("application/json"),
		Body:       fmt.Sprintf(`{"errcode":"M_TOO_LARGE","error":"The answer has %d bytes, more than this server can send at once."}`, len(body)),
	}.payload()
}

// withType returns the headers, CORS among them, for a body of another type.
func (a httpAnswer) withType(contentType string) map[string]string {
	a.Headers["Content-Type"] = contentType
	delete(a.Headers, "Content-Encoding")
	return a.Headers
}

// payload encodes without the escapes of HTML, which would be six bytes each.
func (a httpAnswer) payload() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return b.Bytes(), nil
}
