// Package functionurl is the URL of a Lambda function on this machine: it hands
// every request to the function, whatever its path, and streams the answer.
package functionurl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/proxyevent"
)

// maxHead bounds the bytes of a request's line and headers.
const maxHead = 32 << 10

// URL is a function URL without authentication.
type URL struct {
	Function string
	// Domain is the host of the URL.
	Domain, Account string
	// Streams is the invoke mode RESPONSE_STREAM.
	Streams bool
	// Invoke and Stream run a function.
	Invoke func(ctx context.Context, function string, event []byte) ([]byte, error)
	Stream func(ctx context.Context, function string, event []byte) (*lambda.Answer, error)
	// Complain is told what only the owner of the function would see.
	Complain func(format string, args ...any)
}

// ServeHTTP answers a request.
func (u *URL) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, lambda.MaxPayload+1))
	if err != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	if len(body) > lambda.MaxPayload {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	head := len(r.RequestURI)
	for name, values := range r.Header {
		head += len(name) + len(strings.Join(values, ",")) + len(": \r\n")
	}
	if head > maxHead {
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	id, _, _ := strings.Cut(u.Domain, ".")
	host, _, _ := strings.Cut(r.RemoteAddr, ":")
	event, err := proxyevent.Encode(r, body, proxyevent.Request{
		RouteKey: "$default", Path: path, Query: query, APIID: id, Domain: u.Domain,
		SourceIP: host, Account: u.Account, RequestID: "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
	})
	if err != nil {
		u.failed(w, r, err)
		return
	}
	if !u.Streams {
		payload, err := u.Invoke(r.Context(), u.Function, event)
		if err == nil {
			err = proxyevent.Write(w, payload)
		}
		u.failed(w, r, err)
		return
	}
	answer, err := u.Stream(r.Context(), u.Function, event)
	if err != nil {
		u.failed(w, r, err)
		return
	}
	defer answer.Body.Close()
	if answer.Streamed && answer.ContentType == lambda.StreamType {
		begun, err := proxyevent.Stream(w, answer.Body)
		switch {
		case err != nil && begun:
			if r.Context().Err() == nil {
				u.Complain("the answer of %s broke off: %v", u.Function, err)
			}
			panic(http.ErrAbortHandler) // the client sees an end that is none
		case err != nil:
			u.failed(w, r, err)
		}
		return
	}
	if answer.Streamed {
		u.failed(w, r, fmt.Errorf("a stream of type %q", answer.ContentType))
		return
	}
	payload, err := io.ReadAll(answer.Body)
	if err == nil {
		err = proxyevent.Write(w, payload)
	}
	u.failed(w, r, err)
}

func (u *URL) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, lambda.ErrTooLarge):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		http.Error(w, "Internal Server Error", http.StatusBadGateway)
	}
	if r.Context().Err() == nil {
		u.Complain("the URL of %s gets no answer: %v", u.Function, err)
	}
}
