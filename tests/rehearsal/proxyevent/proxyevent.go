// Package proxyevent is the payload format 2.0: how an HTTP API and a function
// URL tell a function of a request, and what they make of its answer.
package proxyevent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is what the way of a request adds to it.
type Request struct {
	RouteKey   string
	Path       string // rawPath: decoded by an HTTP API, as it was sent by a function URL
	Query      string // rawQueryString
	Parameters map[string]string
	APIID      string
	Domain     string
	SourceIP   string
	Account    string
	RequestID  string
}

type event struct {
	Version         string            `json:"version"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	Query           map[string]string `json:"queryStringParameters,omitempty"`
	PathParameters  map[string]string `json:"pathParameters,omitempty"`
	RequestContext  requestContext    `json:"requestContext"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// Encode writes the event of a request.
func Encode(r *http.Request, body []byte, more Request) ([]byte, error) {
	now := time.Now()
	prefix, _, _ := strings.Cut(more.Domain, ".")
	e := event{
		Version: "2.0", RouteKey: more.RouteKey, RawPath: more.Path, RawQueryString: more.Query,
		Headers: map[string]string{"host": more.Domain}, PathParameters: more.Parameters,
		RequestContext: requestContext{
			AccountID: more.Account, APIID: more.APIID, DomainName: more.Domain, DomainPrefix: prefix,
			HTTP: httpContext{
				Method: r.Method, Path: more.Path, Protocol: "HTTP/1.1", SourceIP: more.SourceIP, UserAgent: r.UserAgent(),
			},
			RequestID: more.RequestID, RouteKey: more.RouteKey, Stage: "$default",
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
		},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, v := range values {
				e.Cookies = append(e.Cookies, strings.Split(v, "; ")...)
			}
			continue
		}
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	if len(body) > 0 {
		e.Headers["content-length"] = strconv.Itoa(len(body))
	}
	if more.Query != "" {
		e.Query = map[string]string{}
		for name, values := range r.URL.Query() {
			e.Query[name] = strings.Join(values, ",")
		}
	}
	if isText(r.Header.Get("Content-Type")) && r.Header.Get("Content-Encoding") == "" && utf8.Valid(body) {
		e.Body = string(body)
	} else if len(body) > 0 {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return b.Bytes(), err
}

// isText reports whether bodies of a type are sent as they are. All others are
// in base64.
func isText(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return strings.HasPrefix(t, "text/") || t == "application/json" || t == "application/javascript" || t == "application/xml"
}

// Answer is what a function answers, or the beginning of what it streams.
type Answer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

var errNoAnswer = errors.New("the answer has no status")

// Write writes the whole answer of a function, or returns an error if it is
// none. Nothing is written then.
func Write(w http.ResponseWriter, payload []byte) error {
	var a Answer
	if err := json.Unmarshal(payload, &a); err != nil {
		return fmt.Errorf("answer of a function: %w", err)
	}
	if a.StatusCode < 200 || a.StatusCode > 599 {
		return errNoAnswer
	}
	body := []byte(a.Body)
	if a.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(a.Body); err != nil {
			return fmt.Errorf("answer of a function: %w", err)
		}
	}
	a.head(w.Header())
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	}
	w.WriteHeader(a.StatusCode)
	_, _ = w.Write(body) // the client may have gone
	return nil
}

func (a *Answer) head(h http.Header) {
	for name, value := range a.Headers {
		h.Set(name, value)
	}
	for _, c := range a.Cookies {
		h.Add("Set-Cookie", c)
	}
}

// separator stands between the two.
var separator = make([]byte, 8)

// maxHead bounds the head of a stream.
const maxHead = 64 << 10

// Stream writes an answer that a function streams. An error before anything is
// written is that there is no head; after that, that the answer broke off.
func Stream(w http.ResponseWriter, from io.Reader) (begun bool, err error) {
	var head []byte
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		head = append(head, buffer[:n]...)
		if bytes.Contains(head, separator) {
			break
		}
		if err != nil || len(head) > maxHead {
			return false, fmt.Errorf("a stream without a head: %w", errors.Join(err, errNoAnswer))
		}
	}
	text, rest, _ := bytes.Cut(head, separator)
	a := Answer{StatusCode: http.StatusOK}
	if err := json.Unmarshal(text, &a); err != nil {
		return false, fmt.Errorf("head of a stream: %w", err)
	}
	a.head(w.Header())
	w.WriteHeader(a.StatusCode)
	flush := http.NewResponseController(w)
	for {
		if _, err := w.Write(rest); err != nil {
			return true, err
		}
		_ = flush.Flush() // not every writer can
		n, err := from.Read(buffer)
		rest = buffer[:n]
		if err == io.EOF && n == 0 {
			return true, nil
		}
		if err != nil && err != io.EOF {
			return true, err
		}
	}
}
