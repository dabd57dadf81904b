package aws

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// urlDomain is in the host name of every function URL, and in no other.
const urlDomain = ".lambda-url."

// httpIntegration is the type of an answer that Lambda takes apart: status and
// headers in JSON, eight zero bytes, and the body.
//
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
const httpIntegration = "application/vnd.awslambda.http-integration-response"

var endOfPrelude = make([]byte, 8)

// stream answers in the form for a function URL: what the handler writes is what
// Read returns, without a copy between. It returns once there is a first byte or
// the handler has ended; what breaks off before that is an error as in the other
// form. What breaks off later, or is not done when ctx is, ends in an error of Read,
// which Lambda is told of after the bytes that it has. A client that trusts no
// connection to be cut still has half a JSON object.
func (x exchange) stream(ctx context.Context, cancel context.CancelFunc) (io.Reader, error) {
	body, pipe := io.Pipe()
	w := &streamer{head: head{header: http.Header{}}, method: x.method, body: pipe, begun: make(chan []byte)}
	ended := make(chan struct{})
	var broken any
	go func() {
		defer close(ended)
		defer cancel()
		// Lambda may take long to take what is written.
		defer context.AfterFunc(ctx, func() { pipe.CloseWithError(context.Cause(ctx)) })()
		defer func() {
			if broken = recover(); broken == nil {
				broken = w.end()
			}
			switch {
			case broken == nil:
				pipe.Close()
				return
			case broken != http.ErrAbortHandler && w.began:
				slog.ErrorContext(ctx, "answer broken off", "err", fmt.Sprintf("panic: %v\n%s", broken, debug.Stack()))
			}
			pipe.CloseWithError(errBrokenOff)
		}()
		x.serve(w)
	}()
	select {
	case prelude := <-w.begun:
		return &streamed{prelude: prelude, body: body, cancel: cancel, ended: ended}, nil
	case <-ended: // before it began
		if broken != http.ErrAbortHandler {
			panic(broken)
		}
		return nil, errBrokenOff
	}
}

// streamer is the ResponseWriter of an answer that is sent as it is written.
type streamer struct {
	head
	method string
	body   *io.PipeWriter
	begun  chan []byte // gets the prelude
	began  bool
	wrote  bool // there is a byte of the body
}

// Write implements http.ResponseWriter.
func (w *streamer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if err := w.begin(b); err != nil {
		return 0, err
	}
	if w.bodyless(w.method) || len(b) == 0 {
		return len(b), nil
	}
	w.wrote = true
	return w.body.Write(b)
}

// FlushError implements what http.ResponseController looks for: nothing is kept
// here but status and headers.
func (w *streamer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.begin(nil)
}

// emptyBody is sent in the place of nothing. Without it clients wait until some
// time is up, since AWS does not end a body that never began
// (aws/aws-lambda-go#596, aws/aws-lambda-web-adapter#499).
var emptyBody = []byte("\n")

// end says that there is no more. It returns nil or an error, as recover does.
func (w *streamer) end() any {
	err := w.FlushError()
	if err == nil && !w.wrote && w.status != http.StatusNoContent && w.status != http.StatusNotModified {
		_, err = w.body.Write(emptyBody)
	}
	if err != nil {
		return err
	}
	return nil
}

// begin sends status and headers before the first byte.
func (w *streamer) begin(body []byte) error {
	if w.began {
		return nil
	}
	prelude, err := w.answer(body).payload()
	if err != nil {
		return err
	}
	w.began = true
	w.begun <- append(bytes.TrimSpace(prelude), endOfPrelude...)
	return nil
}

// streamed is an answer as Lambda reads it.
type streamed struct {
	prelude []byte
	body    *io.PipeReader
	cancel  context.CancelFunc
	ended   <-chan struct{}
}

// ContentType tells Lambda the form of the answer.
func (s *streamed) ContentType() string { return httpIntegration }

// Read implements io.Reader.
func (s *streamed) Read(p []byte) (int, error) {
	if len(s.prelude) > 0 {
		n := copy(p, s.prelude)
		s.prelude = s.prelude[n:]
		return n, nil
	}
	return s.body.Read(p)
}

// Close ends the request, and returns when its handler has: the next one is not
// taken before.
func (s *streamed) Close() error {
	s.cancel()
	err := s.body.Close()
	<-s.ended
	return err
}
