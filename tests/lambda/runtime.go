// Package lambda runs the program of the functions as Lambda does, on this
// machine: a process for each function that asks for its next event.
package lambda

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/infra/aws/bootstrap"
)

// timeout is what a function has for an event here.
const timeout = 20 * time.Second

// Build compiles the program for this machine.
func Build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), bootstrap.Name)
	if err := bootstrap.Build(binary, runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	return binary
}

// Function is one Lambda function with one process, which starts with the first
// event, as on AWS.
type Function struct {
	// Took is how long the process took to ask for its first event, and First how
	// long from its start until that event was answered.
	Took, First time.Duration
	// Timeout is what the function is told that it has for an event.
	Timeout time.Duration

	t       testing.TB
	binary  string
	env     []string
	mu      sync.Mutex // one event at a time
	api     *httptest.Server
	cmd     *exec.Cmd
	log     strings.Builder
	started time.Time
	asks    chan struct{}
	events  chan []byte
	answers chan answer
	ended   chan struct{}
}

type answer struct {
	body   []byte
	stream *Stream
	err    error
}

// Stream is an answer that a function gives piece by piece.
type Stream struct {
	Status  int
	Header  http.Header
	Cookies []string
	// Body has what the function sent so far, and fails where the function said that
	// its answer is broken, or ended without a word. It must be closed.
	Body io.ReadCloser
}

// streaming is the content type of an answer that is streamed.
const streaming = "application/vnd.awslambda.http-integration-response"

// New returns the function that runs handler with the environment, and nothing
// of the test's own environment.
func New(t testing.TB, binary, handler string, env map[string]string) *Function {
	f := &Function{
		Timeout: timeout, t: t, binary: binary, asks: make(chan struct{}, 1), events: make(chan []byte),
		answers: make(chan answer, 1), ended: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", f.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		f.answered(w, r, nil)
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		f.answered(w, r, fmt.Errorf("the function failed"))
	})
	f.api = httptest.NewServer(mux)
	f.env = []string{"_HANDLER=" + handler, "AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(f.api.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME=" + handler}
	for name, value := range env {
		f.env = append(f.env, name+"="+value)
	}
	t.Cleanup(f.stop)
	return f
}

// next gives the process its next event once there is one.
func (f *Function) next(w http.ResponseWriter, r *http.Request) {
	select {
	case f.asks <- struct{}{}:
	default:
	}
	select {
	case event := <-f.events:
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
		w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(f.Timeout).UnixMilli()))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:test")
		_, _ = w.Write(event)
	case <-r.Context().Done():
	}
}

func (f *Function) answered(w http.ResponseWriter, r *http.Request, failed error) {
	if r.Header.Get("Content-Type") == streaming {
		f.streams(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err == nil && failed != nil {
		err = fmt.Errorf("%w: %s", failed, body)
	}
	w.WriteHeader(http.StatusAccepted)
	f.answers <- answer{body: body, err: err}
}

// streams passes on an answer as it comes. The function is not asked for more than
// the client takes.
func (f *Function) streams(w http.ResponseWriter, r *http.Request) {
	from := bufio.NewReader(r.Body)
	var prelude []byte
	for !bytes.HasSuffix(prelude, make([]byte, 8)) {
		b, err := from.ReadByte()
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			f.answers <- answer{err: fmt.Errorf("prelude %q: %w", prelude, err)}
			return
		}
		prelude = append(prelude, b)
	}
	var head struct {
		StatusCode int
		Headers    map[string]string
		Cookies    []string
	}
	if err := json.Unmarshal(prelude[:len(prelude)-8], &head); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		f.answers <- answer{err: fmt.Errorf("prelude %q: %w", prelude, err)}
		return
	}
	body, pipe := io.Pipe()
	s := &Stream{Status: head.StatusCode, Header: http.Header{}, Cookies: head.Cookies, Body: body}
	for name, value := range head.Headers {
		s.Header.Set(name, value)
	}
	f.answers <- answer{stream: s}
	_, err := io.Copy(pipe, from)
	if errors.Is(err, io.ErrClosedPipe) { // the client is gone, of which Lambda says nothing
		_, err = io.Copy(io.Discard, from)
	}
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); err == nil && kind != "" {
		err = fmt.Errorf("the function broke its answer off: %s", kind)
	}
	w.WriteHeader(http.StatusAccepted)
	pipe.CloseWithError(err) // of nil it is Close
}

func (f *Function) start() error {
	f.cmd = exec.Command(f.binary)
	f.cmd.Env = f.env
	f.cmd.Stdout, f.cmd.Stderr = &f.log, &f.log
	f.started = time.Now()
	if err := f.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = f.cmd.Wait() // what matters is in its log
		close(f.ended)
	}()
	select {
	case <-f.asks:
		f.Took = time.Since(f.started)
		return nil
	case <-f.ended:
		return fmt.Errorf("the process ended: %s", f.log.String())
	case <-time.After(timeout):
		return fmt.Errorf("the process does not ask for events")
	}
}

func (f *Function) stop() {
	if f.cmd != nil && f.cmd.Process != nil {
		_ = f.cmd.Process.Kill() // an error means that it has ended
		<-f.ended
		if f.t.Failed() {
			f.t.Logf("log of %s:\n%s", f.env[0], f.log.String())
		}
	}
	f.api.CloseClientConnections()
	f.api.Close()
}

// Invoke sends an event and returns the answer, which is not streamed.
func (f *Function) Invoke(event any) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.invoke(event)
	if a.stream != nil {
		return nil, errors.Join(errors.New("the answer is streamed"), a.stream.Body.Close())
	}
	return a.body, a.err
}

// Stream sends an event and returns the answer as it comes. The next event waits
// until its body is closed.
func (f *Function) Stream(event any) (*Stream, error) {
	f.mu.Lock()
	a := f.invoke(event)
	if a.stream == nil {
		f.mu.Unlock()
		if a.err == nil {
			a.err = fmt.Errorf("the answer is not streamed: %.200s", a.body)
		}
		return nil, a.err
	}
	a.stream.Body = &closing{ReadCloser: a.stream.Body, then: f.mu.Unlock}
	return a.stream, nil
}

// closing does something more when it is closed for the first time.
type closing struct {
	io.ReadCloser
	once sync.Once
	then func()
}

func (c *closing) Close() error {
	defer c.once.Do(c.then)
	return c.ReadCloser.Close()
}

func (f *Function) invoke(event any) answer {
	if f.cmd == nil {
		if err := f.start(); err != nil {
			return answer{err: err}
		}
	}
	text, err := json.Marshal(event)
	if err != nil {
		return answer{err: err}
	}
	after := time.After(timeout)
	select {
	case f.events <- text:
	case <-f.ended:
		return answer{err: fmt.Errorf("the process ended: %s", f.log.String())}
	case <-after:
		return answer{err: errors.New("the process takes no event")}
	}
	select {
	case a := <-f.answers:
		if f.First == 0 {
			f.First = time.Since(f.started)
		}
		return a
	case <-f.ended:
		return answer{err: fmt.Errorf("the process ended: %s", f.log.String())}
	case <-after:
		return answer{err: errors.New("the function does not answer")}
	}
}
