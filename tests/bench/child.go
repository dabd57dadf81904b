package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A child is a server in a process of its own, on a new folder.
type child struct {
	url string
	dir string
	cmd *exec.Cmd
	// took is how long it took from the start of the process to the first answer.
	took time.Duration

	mu    sync.Mutex
	units map[string]logged // by route
	bad   []string          // the last lines but those of good requests
}

// logged sums the lines of the log for the requests of a route.
type logged struct {
	requests      int
	reads, writes float64
}

// build compiles the server.
func build(ctx context.Context, dir string) (bin string, err error) {
	bin = dir + "/virga"
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/virga-im/virga/infra/local").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build infra/local: %w\n%s", err, out)
	}
	return bin, nil
}

// start runs the server as a user would, with open registration and without
// rate limits, until its first answer.
func start(bin string, flags ...string) (*child, error) {
	dir, err := os.MkdirTemp("", "virga-bench-")
	if err != nil {
		return nil, err
	}
	c := &child{dir: dir, units: map[string]logged{}}
	c.cmd = exec.Command(bin, append([]string{
		"-data", dir, "-client-listen", "127.0.0.1:0", "-registration", "open", "-rate-limits", "off",
	}, flags...)...)
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.read(stderr)
	lines := bufio.NewScanner(stdout)
	for c.url == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "client API"); ok {
			c.url = strings.TrimSpace(url)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	if c.url == "" {
		return nil, errors.Join(errors.New("the server did not start"), c.stop())
	}
	resp, err := http.Get(c.url + "/_matrix/client/versions")
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	c.took = time.Since(begin)
	return c, resp.Body.Close()
}

// stop ends the server and removes its folder.
func (c *child) stop() error {
	err := c.cmd.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, c.cmd.Wait(), os.RemoveAll(c.dir))
}

// site is the server for up to so many clients at once.
func (c *child) site(clients int) *site {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 2 * clients
	return &site{url: c.url, http: http.Client{Transport: t, Timeout: time.Minute}, settle: func() error {
		time.Sleep(300 * time.Millisecond)
		return nil
	}}
}

// read reads the log.
func (c *child) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20) // a panic has its stack in its line
	for lines.Scan() {
		c.line(lines.Text())
	}
}

func (c *child) line(s string) {
	r, ok := parseRequest(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !ok || r.status != "200":
		if c.bad = append(c.bad, s); len(c.bad) > 20 {
			c.bad = c.bad[1:]
		}
	default:
		u := c.units[r.route]
		c.units[r.route] = logged{u.requests + 1, u.reads + r.reads, u.writes + r.writes}
	}
}

type request struct {
	route, status string
	reads, writes float64
}

// parseRequest reads a line that the server logs for a request.
func parseRequest(line string) (r request, ok bool) {
	for _, word := range strings.Fields(line) {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "msg":
			ok = v == "request"
		case "route":
			r.route = v
		case "status":
			r.status = v
		case "ru":
			r.reads, _ = strconv.ParseFloat(v, 64)
		case "wu":
			r.writes, _ = strconv.ParseFloat(v, 64)
		}
	}
	return r, ok
}

// logged is what the log has of a route so far. Lines come after the answers.
func (c *child) logged(route string) logged {
	time.Sleep(50 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.units[route]
}

// complaints are the last lines of the log but those of good requests.
func (c *child) complaints() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.bad, "\n")
}

// tick is the unit of /proc/pid/stat: USER_HZ, which is 100 on all that Go runs
// on.
const tick = 10 * time.Millisecond

// cpu is the time that the server has computed, in all its threads.
func (c *child) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

func parseStat(stat string) (time.Duration, error) {
	// The name in parentheses may hold anything; utime and stime are the 14th and
	// 15th fields.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("strange /proc/pid/stat: %q", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// rss is the resident memory in bytes.
func (c *child) rss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
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
