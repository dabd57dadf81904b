package rehearsal

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// needs skips the test where there is no Node, which synthesis and the front
// door run in, or nothing that can be frozen; in CI that is a failure.
func needs(t testing.TB) {
	t.Helper()
	why := ""
	if _, err := exec.LookPath("node"); err != nil {
		why = "Node is missing: the stack cannot be synthesised here"
	}
	if runtime.GOOS != "linux" {
		why = "the program of the functions is built for Linux alone"
	}
	switch {
	case why == "":
	case os.Getenv("VIRGA_CI") == "1":
		t.Fatal(why)
	default:
		t.Skip(why)
	}
}

// synthesised is what the CDK app made of some words, once for the test process.
type synthesised struct {
	once sync.Once
	dir  string
	took time.Duration
	err  error
}

// workshop is where the test process keeps the CDK app and what it made.
type workshop struct {
	once sync.Once
	dir  string
	app  string
	err  error

	mu     sync.Mutex
	made   map[string]*synthesised
	stacks int
	deploy time.Duration // of all stacks
	took   lambda.Counts // by all their functions
}

var shop workshop

// Budget tells what the rehearsals of this process took.
func Budget() string {
	shop.mu.Lock()
	defer shop.mu.Unlock()
	var synth time.Duration
	for _, s := range shop.made {
		synth += s.took
	}
	c := shop.took
	return fmt.Sprintf("%d stacks synthesised in %.1f s; %d deployed in %.1f s; %d invocations of %.1f s in all, %d errors; %d processes started, %.1f ms each; at most %d MB of memory",
		len(shop.made), synth.Seconds(), shop.stacks, shop.deploy.Seconds(), c.Invocations, c.Run.Seconds(), c.Errors, c.Inits, float64(c.Init.Microseconds())/1000/float64(max(c.Inits, 1)), c.PeakMB)
}

// spent adds what a stack took.
func (w *workshop) spent(deploy time.Duration, c lambda.Counts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stacks++
	w.deploy += deploy
	w.took = lambda.Total(map[string]lambda.Counts{"before": w.took, "now": c})
}

// Clean removes what was synthesised. It is for TestMain.
func Clean() {
	if shop.dir != "" {
		os.RemoveAll(shop.dir)
	}
}

// build compiles the CDK app once: go run would link it for each stack.
func (w *workshop) build() error {
	w.once.Do(func() {
		if w.dir, w.err = os.MkdirTemp("", "virga-rehearsal-"); w.err != nil {
			return
		}
		w.app = filepath.Join(w.dir, "aws")
		out, err := exec.Command("go", "build", "-o", w.app, "github.com/virga-im/virga/infra/aws").CombinedOutput()
		if err != nil {
			w.err = fmt.Errorf("build infra/aws: %w\n%s", err, out)
		}
	})
	return w.err
}

// Synthesise runs the CDK app with the words, and returns the folder that it
// wrote, which stays for the whole test process.
func Synthesise(t testing.TB, words map[string]string) (dir string) {
	t.Helper()
	needs(t)
	if err := shop.build(); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, word := range slices.Sorted(maps.Keys(words)) {
		args = append(args, "-c", word+"="+words[word])
	}
	key := strings.Join(args, "\x00")
	shop.mu.Lock()
	if shop.made == nil {
		shop.made = map[string]*synthesised{}
	}
	s := shop.made[key]
	if s == nil {
		s = &synthesised{dir: filepath.Join(shop.dir, fmt.Sprint("cdk.out.", len(shop.made)))}
		shop.made[key] = s
	}
	shop.mu.Unlock()
	s.once.Do(func() {
		began := time.Now()
		s.err = synthesise(s.dir, args)
		s.took = time.Since(began)
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.dir
}

func synthesise(dir string, args []string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.Command(shop.app, args...)
	cmd.Dir = strings.TrimSpace(string(root)) // cdk.json is there
	cmd.Env = append(os.Environ(), "CDK_OUTDIR="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("synthesise with %q: %w\n%s", args, err, out.Bytes())
	}
	return nil
}

// Read synthesises a stack and reads it.
func Read(t testing.TB, words map[string]string) *template.Template {
	t.Helper()
	tm, err := template.Read(Synthesise(t, words))
	if err != nil {
		t.Fatal(err)
	}
	return tm
}
