// Package server starts homeservers for tests: a process of its own, as a user
// would run it, or the same thing inside the test.
package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a homeserver in a process of its own.
type Server struct {
	// URL is where the client API is, without a slash at its end.
	URL string
	// Federation is where the TLS listener is; empty if there is none.
	Federation string
	// Dir is the data folder.
	Dir string
	// Process is the running process; nil while it is stopped.
	Process *os.Process
	// Took is how long the last start took until the listener accepted.
	Took time.Duration

	t      testing.TB
	binary string
	flags  []string
	cmd    *exec.Cmd
	log    *tail
	ended  chan error
}

// defaults are the flags that tests want. Without presence, who waits is woken by
// what the test does, and by nothing that was put off.
var defaults = []string{"-registration", "open", "-password-cost", "min", "-rate-limits", "off", "-allow-private-addresses", "-presence", "off"}

// Start runs infra/local on a free port with a data folder of its own, as
// -server-name localhost with open registration, cheap passwords, no rate limits
// and no presence, unless the flags say otherwise. It is stopped when the test ends;
// the end of its log is shown if the test failed.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	return StartAs(t, Binary(t), flags...)
}

// StartAs is Start for another program than that of Binary.
func StartAs(t testing.TB, binary string, flags ...string) *Server {
	t.Helper()
	s := &Server{t: t, binary: binary, Dir: t.TempDir(), log: new(tail)}
	s.flags = slices.Concat([]string{"-data", s.Dir, "-client-listen", "127.0.0.1:0"}, defaults, flags)
	s.start()
	t.Cleanup(func() {
		s.Kill()
		if strings.Contains(s.log.String(), "WARNING: DATA RACE") {
			t.Error("the server has a data race")
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log)
		}
	})
	return s
}

// Restart ends the process with SIGTERM if it runs, and starts it again on the
// same folder. The URL is another.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// RestartAs is Restart by another program.
func (s *Server) RestartAs(binary string) {
	s.t.Helper()
	s.Stop()
	s.binary = binary
	s.start()
}

// Stop ends the process with SIGTERM and fails the test unless it ended well.
// It returns how long that took.
func (s *Server) Stop() time.Duration {
	s.t.Helper()
	begin := time.Now()
	if err := s.end(syscall.SIGTERM); err != nil {
		s.t.Fatalf("the server did not end well after SIGTERM: %v", err)
	}
	return time.Since(begin)
}

// Kill ends the process with SIGKILL.
func (s *Server) Kill() { _ = s.end(syscall.SIGKILL) }

func (s *Server) end(sig os.Signal) error {
	if s.Process == nil {
		return nil
	}
	s.Process = nil
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("it still ran 10 s later: %w", <-s.ended)
	}
}

func (s *Server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, s.flags...)
	s.cmd.Stderr = s.log
	if RaceEnabled { // the detector would delay every exit by a second
		s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.Process = s.cmd.Process
	s.URL, s.Federation = "", ""
	// The greeting ends with how to stop; the listeners accept by then.
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "^C") {
		switch name, value := cutLine(lines.Text()); name {
		case "client API":
			s.URL, s.Took = value, time.Since(begin)
		case "federation API":
			s.Federation, _, _ = strings.Cut(value, " ")
		}
	}
	s.ended = make(chan error, 1)
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		s.ended <- s.cmd.Wait()
	}()
	if s.URL == "" {
		s.Kill()
		s.t.Fatalf("the server did not start:\n%s", s.log)
	}
}

// cutLine reads a line of the greeting such as "  data            /var/virga".
func cutLine(line string) (name, value string) {
	line, ok := strings.CutPrefix(line, "  ")
	if !ok || len(line) < 16 {
		return "", ""
	}
	return strings.TrimSpace(line[:16]), strings.TrimSpace(line[16:])
}

// RSS returns the resident memory of the process in bytes, on Linux.
func (s *Server) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kb int64
			_, err := fmt.Sscan(v, &kb)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// Log returns the end of what the server logged.
func (s *Server) Log() string { return s.log.String() }

// Faults are the requests in the log that met no endpoint or an error of the
// server's own (a status from 500), of all its starts. They are complete once
// the process has ended.
func (s *Server) Faults() []string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.faults)
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "virga-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "virga")
	args := []string{"build", "-o", bin}
	if RaceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/virga-im/virga/infra/local")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// Binary returns the path of the server's program, built once for the test
// binary. VIRGA_BINARY names one that is built already.
func Binary(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("VIRGA_BINARY"); bin != "" {
		return bin
	}
	bin, err := build()
	if err != nil {
		t.Fatalf("build infra/local: %v", err)
	}
	return bin
}

// Need skips the test if the program is missing, and fails it in CI, where
// nothing may be skipped. It returns the path of the program.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("VIRGA_CI") == "1":
		t.Fatalf("CI needs the program %s", program)
	default:
		t.Skipf("the program %s is not installed", program)
	}
	return ""
}

// Get fetches a path and returns status and body.
func (s *Server) Get(path string) (int, string) {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil)
}

// Post posts to a path and returns status and body.
func (s *Server) Post(path, body string) (int, string) {
	s.t.Helper()
	return s.do(http.MethodPost, path, strings.NewReader(body))
}

func (s *Server) do(method, path string, body io.Reader) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// tail keeps the end of a log, and the lines of it that tell of faults.
type tail struct {
	mu     sync.Mutex
	b      []byte
	line   []byte // the last one, as long as it has no end
	faults []string
}

const tailSize = 64 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b = append(l.b, b...); len(l.b) > 2*tailSize {
		l.b = append(l.b[:0], l.b[len(l.b)-tailSize:]...)
	}
	l.line = append(l.line, b...)
	for {
		line, rest, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if fault.Match(line) {
			l.faults = append(l.faults, string(line))
		}
		l.line = rest
	}
}

var fault = regexp.MustCompile(`msg=request .*(route=unknown|errcode=M_UNRECOGNIZED|status=5\d\d)`)

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b[max(0, len(l.b)-tailSize):])
}

// Command returns the server's program with the flags, not started.
func Command(t testing.TB, flags ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), Binary(t), flags...)
}

// Base is URL, which is another one after a restart.
func (s *Server) Base() string { return s.URL }
