package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	runtime "github.com/aws/aws-lambda-go/lambda"
)

// The test binary is the program of the functions as well.
func TestMain(m *testing.M) {
	if handler := os.Getenv("_HANDLER"); handler != "" {
		runtime.Start(programs[handler])
	}
	os.Exit(m.Run())
}

// broken is an answer that breaks off after some bytes.
type broken struct{ text io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err == io.EOF {
		err = errors.New("out of paper")
	}
	return n, err
}

func (broken) ContentType() string { return StreamType }

var programs = map[string]func(context.Context, json.RawMessage) (any, error){
	"echo":    func(_ context.Context, in json.RawMessage) (any, error) { return in, nil },
	"environ": func(context.Context, json.RawMessage) (any, error) { return os.Environ(), nil },
	"fail":    func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("no") },
	"exit":    func(context.Context, json.RawMessage) (any, error) { os.Exit(3); return nil, nil },
	"sleep":   func(context.Context, json.RawMessage) (any, error) { select {} },
	"large": func(_ context.Context, in json.RawMessage) (any, error) {
		return strings.Repeat("x", MaxPayload), nil
	},
	"stream": func(context.Context, json.RawMessage) (any, error) {
		return broken{strings.NewReader("first, and no")}, nil
	},
	"wait": func(_ context.Context, in json.RawMessage) (any, error) {
		var other string // a file that the other invocation makes
		if err := json.Unmarshal(in, &other); err != nil {
			return nil, err
		}
		own := strings.NewReplacer("one", "two", "two", "one").Replace(other)
		if err := os.WriteFile(own, nil, 0o644); err != nil {
			return nil, err
		}
		for {
			if _, err := os.Stat(other); err == nil {
				return nil, nil
			}
			time.Sleep(time.Millisecond)
		}
	},
}

type world struct {
	*Lambda
	mu         sync.Mutex
	complaints []string
}

func start(t *testing.T, alive int, fault func(string, int) Fault) *world {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(code, "bootstrap")); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	functions := map[string]*Function{}
	for name := range programs {
		functions[name] = &Function{Name: name, Handler: name, Code: code, MemoryMB: 128, Timeout: 10 * time.Second, Env: map[string]string{"OWN": "1"}}
	}
	functions["sleep"].Timeout = 300 * time.Millisecond
	w.Lambda = New(Options{
		Region: "us-east-1", Endpoint: "http://aws", MaxAlive: alive, Fault: fault,
		Find: func(name string) (*Function, error) { return functions[name], nil },
		Started: func(*Function, string) ([]string, error) {
			return []string{"AWS_ACCESS_KEY_ID=key"}, nil
		},
		Log: func(string, []byte) {},
		Complain: func(format string, args ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
		},
	})
	t.Cleanup(w.Close)
	return w
}

func (w *world) call(t *testing.T, name, event string) string {
	t.Helper()
	out, err := w.Invoke(t.Context(), name, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// settled waits until the processes are idle.
func (w *world) settled(t *testing.T, n int) []*process {
	t.Helper()
	for range 2000 {
		w.Lambda.mu.Lock()
		idle := append([]*process{}, w.idle...)
		w.Lambda.mu.Unlock()
		if len(idle) == n {
			return idle
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("there are not %d idle processes", n)
	return nil
}

// stopped waits until a process has taken its signal.
func stopped(p *process) bool {
	for range 2000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil || strings.Contains(string(status), "State:\tT") {
			return true // or it cannot be known here
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func TestAProcessIsUsedAgainAndFrozenMeanwhile(t *testing.T) {
	w := start(t, 2, nil)
	for range 3 {
		if got := w.call(t, "echo", `{"a":1}`); got != `{"a":1}` {
			t.Errorf("the answer is %s", got)
		}
		p := w.settled(t, 1)[0]
		if !stopped(p) {
			t.Error("the process is not stopped")
		}
	}
	if c := w.Counts()["echo"]; c.Invocations != 3 || c.Inits != 1 || c.Errors != 0 || c.In != 21 || c.Out != 21 || c.Init == 0 || c.Run == 0 {
		t.Errorf("%+v", c)
	}
	w.Forget()
	w.call(t, "echo", `1`)
	if c := w.Counts()["echo"]; c.Inits != 2 {
		t.Errorf("after everything was forgotten: %+v", c)
	}
}

func TestTwoEventsAtOnceNeedTwoProcesses(t *testing.T) {
	w := start(t, 2, nil)
	dir := t.TempDir()
	var both sync.WaitGroup
	for _, other := range []string{"one", "two"} {
		both.Go(func() {
			event, err := json.Marshal(filepath.Join(dir, other))
			if err == nil {
				_, err = w.Invoke(t.Context(), "wait", event)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if c := w.Counts()["wait"]; c.Inits != 2 || c.Invocations != 2 {
		t.Errorf("%+v", c)
	}
}

func TestTheProcessThatWasIdleForLongestMakesRoom(t *testing.T) {
	w := start(t, 2, nil)
	for i, name := range []string{"echo", "environ", "echo", "fail", "echo", "environ"} {
		if _, err := w.Invoke(t.Context(), name, []byte("1")); (err != nil) != (name == "fail") {
			t.Fatal(err)
		}
		w.settled(t, min(i+1, 2))
	}
	all := w.Counts()
	if all["echo"].Inits != 1 || all["environ"].Inits != 2 || all["fail"].Inits != 1 {
		t.Errorf("%+v", all)
	}
}

func TestFunctionsFailAsOnLambda(t *testing.T) {
	w := start(t, 3, nil)
	for _, tt := range []struct{ name, event, kind, message string }{
		{"fail", "1", "errorString", "no"},
		{"exit", "1", "Runtime.ExitError", "exit status 3"},
		{"sleep", "1", "Sandbox.Timedout", "Task timed out after 0.30 seconds"},
		{"large", "1", "Function.ResponseSizeTooLarge", "6 MB"},
	} {
		var e *FunctionError
		if _, err := w.Invoke(t.Context(), tt.name, []byte(tt.event)); !errors.As(err, &e) || e.Type != tt.kind || !strings.Contains(e.Message, tt.message) {
			t.Errorf("%s: %v, want %s of %s", tt.name, err, tt.kind, tt.message)
		}
		if c := w.Counts()[tt.name]; c.Errors != 1 {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	if _, err := w.Invoke(t.Context(), "echo", make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an event above 6 MB: %v", err)
	}
	if len(w.complaints) != 1 || !strings.Contains(w.complaints[0], "killed") {
		t.Errorf("complaints: %q", w.complaints)
	}
}

func TestAStreamThatBreaksOffEndsInAnError(t *testing.T) {
	w := start(t, 1, nil)
	a, err := w.Stream(t.Context(), "stream", []byte("1"))
	if err != nil || !a.Streamed || a.ContentType != StreamType {
		t.Fatalf("%+v, %v", a, err)
	}
	text, err := io.ReadAll(a.Body)
	var e *FunctionError
	if string(text) != "first, and no" || !errors.As(err, &e) || !strings.Contains(e.Message, "out of paper") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestTheEnvironmentIsThatOfTheFunctionAndLambda(t *testing.T) {
	t.Setenv("VIRGA_SERVER_NAME", "leaks.example.org")
	w := start(t, 1, nil)
	var env []string
	if err := json.Unmarshal([]byte(w.call(t, "environ", "1")), &env); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(env, "\n")
	for _, want := range []string{"OWN=1", "_HANDLER=environ", "AWS_ACCESS_KEY_ID=key", "AWS_REGION=us-east-1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_ENDPOINT_URL=http://aws"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for _, no := range []string{"VIRGA", "GOMEMLIMIT", "HOME="} {
		if strings.Contains(text, no) {
			t.Errorf("%s in\n%s", no, text)
		}
	}
}

func TestFaultsHappenToTheInvocationTheyAreFor(t *testing.T) {
	w := start(t, 1, func(_ string, n int) Fault {
		return map[int]Fault{1: LosesAnswer, 3: Twice}[n]
	})
	if _, err := w.Invoke(t.Context(), "echo", []byte("1")); err == nil {
		t.Error("a lost answer arrives")
	}
	w.call(t, "echo", "2")
	w.call(t, "echo", "3")
	w.settled(t, 1)
	if c := w.Counts()["echo"]; c.Invocations != 4 || c.Inits != 2 || c.Errors != 1 {
		t.Errorf("%+v", c)
	}
}
