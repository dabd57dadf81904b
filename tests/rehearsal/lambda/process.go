package lambda

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxInit is how long a process may take until it asks for its first event.
const maxInit = 10 * time.Second

// process is one execution environment of a function.
type process struct {
	l      *Lambda
	f      *Function
	cmd    *exec.Cmd
	api    *http.Server
	log    lines
	asks   chan struct{}   // it wants its next event
	events chan invocation // what it gets
	ended  chan struct{}
	deploy int
	// answered is when it gave its answer, until it asks for another event.
	answered atomic.Int64

	mu  sync.Mutex
	now *invocation // the one that it is at
}

type invocation struct {
	id       string
	event    []byte
	deadline time.Time
	stream   bool
	fault    Fault
	answers  chan result
	complete chan int64 // the whole answer is here, of so many bytes
}

// newProcess starts a process and waits until it asks for its first event.
func (l *Lambda) newProcess(f *Function) (*process, error) {
	p := &process{l: l, f: f, asks: make(chan struct{}), events: make(chan invocation), ended: make(chan struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.api = &http.Server{Handler: p.runtimeAPI(), ReadHeaderTimeout: time.Minute}
	go func() { _ = p.api.Serve(listener) }() // it ends by being closed
	p.log = lines{line: func(line []byte) {
		l.count(f.Name, Counts{LogBytes: int64(len(line)) + 1})
		l.o.Log(f.Name, line)
	}}
	p.cmd = exec.Command(filepath.Join(f.Code, "bootstrap"))
	p.cmd.Dir = f.Code
	if p.cmd.Env, err = l.environment(f, listener.Addr().String()); err != nil {
		p.api.Close()
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	dieWithParent(p.cmd)
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		p.api.Close()
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // what it has to say is in its log
		p.log.end()
		close(p.ended)
	}()
	timer := time.NewTimer(maxInit)
	defer timer.Stop()
	select {
	case <-p.asks:
		l.count(f.Name, Counts{Inits: 1, Init: time.Since(began)})
		p.freeze()
		return p, nil
	case <-p.ended:
		p.kill()
		return nil, &FunctionError{"Runtime.ExitError", fmt.Sprintf("%s ended before it asked for an event: %s", f, p.cmd.ProcessState)}
	case <-timer.C:
		p.kill()
		return nil, &FunctionError{"Sandbox.Timedout", f.String() + " did not ask for an event in time"}
	}
}

// environment is what Lambda sets beside what the function says.
func (l *Lambda) environment(f *Function, api string) ([]string, error) {
	logStream := time.Now().UTC().Format("2006/01/02") + "/[$LATEST]" + strings.ReplaceAll(randomID(), "-", "")
	list, err := l.o.Started(f, logStream)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"_HANDLER": f.Handler, "LAMBDA_TASK_ROOT": f.Code, "LAMBDA_RUNTIME_DIR": "/var/runtime",
		"AWS_REGION": l.o.Region, "AWS_DEFAULT_REGION": l.o.Region,
		"AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       f.LogGroup, "AWS_LAMBDA_LOG_STREAM_NAME": logStream,
		"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_RUNTIME_API": api,
		"LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		// Of the rehearsal alone: where AWS is.
		"AWS_ENDPOINT_URL": l.o.Endpoint,
	}
	for name, value := range f.Env {
		if _, taken := env[name]; taken || strings.HasPrefix(name, "AWS_") {
			l.o.Complain("%s: the environment variable %s is Lambda's own, and a deploy fails", f, name)
		}
		env[name] = value
	}
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list, nil
}

// runtimeAPI is what the program sees of Lambda.
func (p *process) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", p.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", p.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", p.failure)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

// next gives the process its next event once there is one.
func (p *process) next(w http.ResponseWriter, r *http.Request) {
	select {
	case p.asks <- struct{}{}:
	case <-p.ended:
		return
	case <-r.Context().Done():
		return
	}
	select {
	case i := <-p.events:
		p.mu.Lock()
		p.now = &i
		p.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", i.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", p.f.ARN)
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0")
		_, _ = w.Write(i.event) // a process that ended is noticed elsewhere
	case <-p.ended:
	case <-r.Context().Done():
	}
}

// at returns the invocation that the request is about.
func (p *process) at(w http.ResponseWriter, r *http.Request) *invocation {
	p.mu.Lock()
	i := p.now
	p.mu.Unlock()
	if i == nil || i.id != r.PathValue("id") {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return nil
	}
	return i
}

func (p *process) response(w http.ResponseWriter, r *http.Request) {
	i := p.at(w, r)
	if i == nil {
		return
	}
	if i.fault == LosesAnswer {
		_, _ = io.Copy(io.Discard, r.Body)
		p.signalKill()
		return
	}
	// The header is what the documentation asks for. The library of Go leaves it
	// out, and its answers stream all the same.
	streamed := r.Header.Get("Lambda-Runtime-Function-Response-Mode") == "streaming" || r.Header.Get("Content-Type") == StreamType
	if streamed && i.stream {
		p.streamed(i, w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxPayload+1))
	switch {
	case err != nil:
		return // the process has ended
	case len(body) > MaxPayload:
		_, _ = io.Copy(io.Discard, r.Body)
		i.answers <- result{err: &FunctionError{"Function.ResponseSizeTooLarge", "the answer has more than 6 MB"}}
		i.complete <- int64(len(body))
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case r.Trailer.Get(errorTrailer) != "":
		i.answers <- result{err: trailerError(r)}
	default:
		i.answers <- result{answer: &Answer{ContentType: r.Header.Get("Content-Type"), Body: io.NopCloser(bytes.NewReader(body))}}
	}
	i.complete <- int64(len(body))
	w.WriteHeader(http.StatusAccepted)
}

// StreamType is the content type of an answer to an HTTP request whose body
// follows its head.
const StreamType = "application/vnd.awslambda.http-integration-response"

// errorTrailer says, after a streamed answer, that it did not come to its end.
const errorTrailer = "Lambda-Runtime-Function-Error-Type"

func trailerError(r *http.Request) error {
	about := r.Trailer.Get("Lambda-Runtime-Function-Error-Body")
	if text, err := base64.StdEncoding.DecodeString(about); err == nil {
		about = string(text)
	}
	return &FunctionError{r.Trailer.Get(errorTrailer), about}
}

// streamed passes an answer on while the function writes it.
func (p *process) streamed(i *invocation, w http.ResponseWriter, r *http.Request) {
	out, in := io.Pipe()
	i.answers <- result{answer: &Answer{Streamed: true, ContentType: r.Header.Get("Content-Type"), Body: out}}
	buffer := make([]byte, 64<<10)
	var n int64
	var failed error
	for failed == nil {
		k, err := r.Body.Read(buffer)
		n += int64(k)
		_, _ = in.Write(buffer[:k]) // a caller that went away does not stop the function
		if n > MaxStream {
			err = &FunctionError{"Function.ResponseSizeTooLarge", "the stream has more than 200 MB"}
		}
		failed = err
	}
	switch {
	case failed != io.EOF:
	case r.Trailer.Get(errorTrailer) != "":
		failed = trailerError(r)
	default:
		failed = nil
	}
	in.CloseWithError(failed)
	i.complete <- n
	w.WriteHeader(http.StatusAccepted)
}

func (p *process) failure(w http.ResponseWriter, r *http.Request) {
	i := p.at(w, r)
	if i == nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var told struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal(body, &told); err != nil {
		told.ErrorMessage = string(body)
	}
	i.answers <- result{err: &FunctionError{told.ErrorType, told.ErrorMessage}}
	i.complete <- int64(len(body))
	w.WriteHeader(http.StatusAccepted)
}

// run hands the process an event. It returns when the process asks for its next
// one, or has ended; the answer is there as soon as it is known.
func (p *process) run(event []byte, stream bool, fault Fault, done chan<- result) {
	began := time.Now()
	i := invocation{
		id: randomID(), event: event, deadline: began.Add(p.f.Timeout), stream: stream, fault: fault,
		answers: make(chan result, 1), complete: make(chan int64, 1),
	}
	timer := time.NewTimer(p.f.Timeout)
	defer timer.Stop()
	p.thaw()
	answered := false
	var ask chan struct{}
	fail := func(err error) {
		p.l.count(p.f.Name, Counts{Errors: 1})
		if !answered {
			done <- result{err: err}
			answered = true
		}
	}
	ended := func(why string) {
		fail(&FunctionError{"Runtime.ExitError", p.f.String() + why})
		p.kill()
		p.l.count(p.f.Name, Counts{Run: time.Since(began)})
	}
	select {
	case p.events <- i:
	case <-p.ended:
		ended(" ended between two events")
		return
	}
	for {
		select {
		case r := <-i.answers:
			if r.err != nil {
				fail(r.err)
			} else {
				done <- r
				answered = true
			}
		case n := <-i.complete:
			if len(i.answers) > 0 { // it came first
				i.complete <- n
				continue
			}
			p.l.count(p.f.Name, Counts{Run: time.Since(began), Out: n})
			p.answered.Store(time.Now().UnixNano())
			ask = p.asks
		case <-ask:
			p.answered.Store(0)
			p.freeze()
			return
		case <-p.ended:
			select {
			case r := <-i.answers: // its last word
				done <- r
				answered = true
			default:
			}
			ended(" ended: " + p.cmd.ProcessState.String())
			return
		case <-timer.C:
			p.signalKill()
			p.l.o.Complain("%s is killed: it was not ready after %s", p.f, p.f.Timeout)
			fail(&FunctionError{"Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", p.f.Timeout.Seconds())})
			p.kill()
			p.l.count(p.f.Name, Counts{Run: time.Since(began)})
			return
		}
	}
}

// up reports whether the process has not ended.
func (p *process) up() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// freeze stops the process until thaw, which it does not notice.
func (p *process) freeze() {
	peak := p.peakMB()
	p.l.count(p.f.Name, Counts{PeakMB: peak})
	if peak > p.f.MemoryMB {
		p.l.o.Complain("%s has used %d MB of memory, and has %d MB", p.f, peak, p.f.MemoryMB)
	}
	p.signal(stop)
}

func (p *process) thaw()       { p.signal(goOn) }
func (p *process) signalKill() { p.signal(os.Kill) }

func (p *process) signal(s os.Signal) {
	if s == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.l.o.Complain("%s: %v: %v", p.f, s, err)
	}
}

// kill ends the process, if it has not ended, and waits until it has.
func (p *process) kill() {
	p.signalKill()
	<-p.ended
	p.api.Close()
}

// peakMB is the most memory that the process has had, or 0 where this cannot be
// known.
func (p *process) peakMB() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(kb) // 0 where there is no such line
	return n >> 10
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// lines cuts what is written into lines.
type lines struct {
	mu   sync.Mutex
	rest []byte
	line func([]byte)
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if i > 0 {
			l.line(l.rest[:i])
		}
		l.rest = l.rest[i+1:]
	}
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
}
