// Package lambda is AWS Lambda on this machine: functions are processes of their
// real program, which asks the Runtime API for one event after the other.
//
// What Lambda does to a program is done here as well: a process has one event at
// a time, and another process starts while all are busy; between events it is
// frozen; it is killed when its time is over; it gets nothing of the environment
// but what its function says and what Lambda itself sets.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Function is a Lambda function.
type Function struct {
	Name, ARN string
	Handler   string
	Code      string            // folder with the program, named bootstrap
	Env       map[string]string // its environment, without what Lambda sets
	MemoryMB  int
	Timeout   time.Duration
	LogGroup  string
	Role      string // its ARN
}

// Options are how a Lambda of this machine is made.
type Options struct {
	Region string
	// Endpoint is where the functions find all other services of AWS.
	Endpoint string
	// MaxAlive bounds the processes that there are at once. Who needs one more
	// ends the one that was idle for longest, or waits for one.
	MaxAlive int
	// Find returns the function of a name.
	Find func(name string) (*Function, error)
	// Started is asked for each process, which writes its log to a stream of the
	// function's group, and returns the environment of its credentials.
	Started func(f *Function, logStream string) (credentials []string, err error)
	// Log gets each line that a function writes, without its end.
	Log func(function string, line []byte)
	// Complain is told what Lambda would do to a function, and nobody would see.
	Complain func(format string, args ...any)
	// Fault, unless nil, decides what goes wrong with an invocation.
	Fault func(function string, n int) Fault
}

// Fault is what goes wrong with an invocation.
type Fault int

const (
	// Fine is none.
	Fine Fault = iota
	// LosesAnswer kills the process as it hands over its answer: everything is
	// done, and nobody hears of it.
	LosesAnswer
	// Twice gives the event to the function a second time after the first, and
	// keeps the first answer: at least once is what Lambda promises.
	Twice
)

// Counts are what the invocations of a function took.
type Counts struct {
	Invocations int
	Inits       int
	Errors      int // invocations without an answer
	Init        time.Duration
	Run         time.Duration
	In, Out     int64 // bytes of events and answers
	LogBytes    int64
	PeakMB      int // of resident memory, of any of its processes
	MemoryMB    int // that the function has
}

func (c *Counts) add(o Counts) {
	c.Invocations += o.Invocations
	c.Inits += o.Inits
	c.Errors += o.Errors
	c.Init += o.Init
	c.Run += o.Run
	c.In += o.In
	c.Out += o.Out
	c.LogBytes += o.LogBytes
	c.PeakMB = max(c.PeakMB, o.PeakMB)
	c.MemoryMB = max(c.MemoryMB, o.MemoryMB)
}

// Limits of Lambda's, in bytes.
const (
	MaxPayload = 6 << 20   // of an event, and of an answer that is returned whole
	MaxStream  = 200 << 20 // of an answer that is streamed
)

// Errors of an invocation that did not come to its function.
var (
	ErrTooLarge = errors.New("RequestEntityTooLargeException: the event has more than 6 MB")
	errClosed   = errors.New("the rehearsal has ended")
)

// FunctionError is what a caller of Lambda gets for a function that failed.
type FunctionError struct{ Type, Message string }

func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// Answer is what a function answered.
type Answer struct {
	// Streamed answers arrive while the function is still at work. Body ends
	// with an error if the function does.
	Streamed    bool
	ContentType string
	Body        io.ReadCloser
}

// Lambda runs functions.
type Lambda struct {
	o Options

	mu      sync.Mutex
	free    *sync.Cond // something may have become free
	idle    []*process // the least recently used is the first
	alive   map[*process]bool
	starts  int // processes that are being started
	counts  map[string]*Counts
	closed  bool
	deploys int // how often everything had to start anew
	running sync.WaitGroup
}

// New returns a Lambda without any process.
func New(o Options) *Lambda {
	l := &Lambda{o: o, alive: map[*process]bool{}, counts: map[string]*Counts{}}
	l.free = sync.NewCond(&l.mu)
	return l
}

// Counts returns what each function took until now.
func (l *Lambda) Counts() map[string]Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]Counts{}
	for name, c := range l.counts {
		all[name] = *c
	}
	return all
}

// Total adds counts.
func Total(all map[string]Counts) (sum Counts) {
	for c := range maps.Values(all) {
		sum.add(c)
	}
	return sum
}

func (l *Lambda) count(name string, c Counts) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts[name] == nil {
		l.counts[name] = &Counts{}
	}
	l.counts[name].add(c)
	return l.counts[name].Invocations
}

// Invoke hands an event to a function and returns its whole answer. A caller
// that goes away does not stop the function.
func (l *Lambda) Invoke(ctx context.Context, name string, event []byte) ([]byte, error) {
	a, err := l.start(ctx, name, event, false)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return io.ReadAll(a.Body)
}

// Stream hands an event to a function and returns its answer as soon as it
// begins, if the function streams it.
func (l *Lambda) Stream(ctx context.Context, name string, event []byte) (*Answer, error) {
	return l.start(ctx, name, event, true)
}

type result struct {
	answer *Answer
	err    error
}

func (l *Lambda) start(ctx context.Context, name string, event []byte, stream bool) (*Answer, error) {
	if len(event) > MaxPayload {
		return nil, ErrTooLarge
	}
	f, err := l.o.Find(name)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errClosed
	}
	l.running.Add(1)
	l.mu.Unlock()
	done := make(chan result, 1)
	go func() {
		defer l.running.Done()
		l.invoke(f, event, stream, done)
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.answer != nil {
				_, _ = io.Copy(io.Discard, r.answer.Body) // the function goes on
			}
		}()
		return nil, ctx.Err()
	}
}

// invoke runs one invocation, and all that follows from it until the process
// asks for another event.
func (l *Lambda) invoke(f *Function, event []byte, stream bool, done chan<- result) {
	n := l.count(f.Name, Counts{Invocations: 1, In: int64(len(event)), MemoryMB: f.MemoryMB})
	fault := Fine
	if l.o.Fault != nil {
		fault = l.o.Fault(f.Name, n)
	}
	p, err := l.acquire(f)
	if err != nil {
		l.count(f.Name, Counts{Errors: 1})
		done <- result{err: err}
		return
	}
	p.run(event, stream, fault, done)
	if fault == Twice && p.up() {
		l.count(f.Name, Counts{Invocations: 1, In: int64(len(event))})
		again := make(chan result, 1)
		p.run(event, false, Fine, again)
		if r := <-again; r.err != nil {
			l.o.Complain("%s fails when it gets an event twice: %v", f.Name, r.err)
		} else {
			r.answer.Body.Close()
		}
	}
	l.release(p)
}

// acquire returns a process of the function that has nothing to do.
func (l *Lambda) acquire(f *Function) (*process, error) {
	l.mu.Lock()
	for {
		if l.closed {
			l.mu.Unlock()
			return nil, errClosed
		}
		for i := len(l.idle) - 1; i >= 0; i-- {
			if p := l.idle[i]; p.f == f {
				l.idle = slices.Delete(l.idle, i, i+1)
				l.mu.Unlock()
				return p, nil
			}
		}
		if l.almost(f) {
			l.free.Wait()
			continue
		}
		if len(l.alive)+l.starts < l.o.MaxAlive {
			break
		}
		if len(l.idle) > 0 {
			oldest := l.idle[0]
			l.idle = l.idle[1:]
			delete(l.alive, oldest)
			l.mu.Unlock()
			oldest.kill()
			l.mu.Lock()
			continue
		}
		l.free.Wait()
	}
	l.starts++
	deploy := l.deploys
	l.mu.Unlock()
	p, err := l.newProcess(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts--
	if err != nil {
		l.free.Broadcast()
		return nil, err
	}
	p.deploy = deploy
	l.alive[p] = true
	return p, nil
}

// soon is how long a process that has answered is waited for, instead of starting
// another one: clients are nearer here than on AWS.
const soon = 50 * time.Millisecond

// almost reports whether a process of the function will be free soon. l.mu is held.
func (l *Lambda) almost(f *Function) bool {
	for p := range l.alive {
		if at := p.answered.Load(); p.f == f && at > 0 && time.Since(time.Unix(0, at)) < soon {
			time.AfterFunc(soon, l.free.Broadcast)
			return true
		}
	}
	return false
}

// release takes back a process that asks for its next event, or has ended.
func (l *Lambda) release(p *process) {
	l.mu.Lock()
	if p.up() && !l.closed && p.deploy == l.deploys {
		l.idle = append(l.idle, p)
		l.mu.Unlock()
	} else {
		delete(l.alive, p)
		l.mu.Unlock()
		p.kill()
	}
	l.free.Broadcast()
}

// KillRunning kills the processes of a function that are at work, as Lambda does
// when a machine fails, and returns how many there were.
func (l *Lambda) KillRunning(name string) (n int) {
	for _, p := range l.processes(func(p *process) bool { return p.f.Name == name && !slices.Contains(l.idle, p) }) {
		p.signalKill()
		n++
	}
	return n
}

// Forget ends all processes, those at work when they are ready: as after a deploy,
// every later event starts a process.
func (l *Lambda) Forget() {
	l.mu.Lock()
	l.deploys++
	idle := l.idle
	l.idle = nil
	for _, p := range idle {
		delete(l.alive, p)
	}
	l.mu.Unlock()
	for _, p := range idle {
		p.kill()
	}
	l.free.Broadcast()
}

func (l *Lambda) processes(which func(*process) bool) (some []*process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.alive {
		if which(p) {
			some = append(some, p)
		}
	}
	return some
}

// Close kills all processes and waits for their ends.
func (l *Lambda) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.free.Broadcast()
	l.Forget()
	for _, p := range l.processes(func(*process) bool { return true }) {
		p.signalKill()
	}
	l.running.Wait()
	for _, p := range l.processes(func(*process) bool { return true }) {
		p.kill()
	}
}

func (f *Function) String() string { return fmt.Sprintf("%s (%s)", f.Name, f.Handler) }
