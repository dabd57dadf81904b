// Package lambda runs the program of the functions as Lambda does, on this
// machine: a process for each function that asks for its next event.
package lambda

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// timeout is what a function has for an event here.
const timeout = 20 * time.Second

// Build compiles the program for this machine.
func Build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.Command("go", "build", "-tags=lambda.norpc", "-o", binary, "github.com/virga-im/virga/functions")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return binary
}

// Function is one Lambda function with one process, which starts with the first
// event, as on AWS.
type Function struct {
	// Took is how long the process took to ask for its first event.
	Took time.Duration

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
	body []byte
	err  error
}

// New returns the function that runs handler with the environment, and nothing
// of the test's own environment.
func New(t testing.TB, binary, handler string, env map[string]string) *Function {
	f := &Function{
		t: t, binary: binary, asks: make(chan struct{}, 1), events: make(chan []byte),
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
		w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(timeout).UnixMilli()))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:test")
		_, _ = w.Write(event)
	case <-r.Context().Done():
	}
}

func (f *Function) answered(w http.ResponseWriter, r *http.Request, failed error) {
	body, err := io.ReadAll(r.Body)
	if err == nil && failed != nil {
		err = fmt.Errorf("%w: %s", failed, body)
	}
	w.WriteHeader(http.StatusAccepted)
	f.answers <- answer{body, err}
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

// Invoke sends an event and returns the answer.
func (f *Function) Invoke(event any) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cmd == nil {
		if err := f.start(); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	after := time.After(timeout)
	select {
	case f.events <- text:
	case <-f.ended:
		return nil, fmt.Errorf("the process ended: %s", f.log.String())
	case <-after:
		return nil, fmt.Errorf("the process takes no event")
	}
	select {
	case a := <-f.answers:
		return a.body, a.err
	case <-f.ended:
		return nil, fmt.Errorf("the process ended: %s", f.log.String())
	case <-after:
		return nil, fmt.Errorf("the function does not answer")
	}
}
