// Package differential runs the tests of tests/oracle, a module of its own that
// compares our Matrix core with gomatrixserverlib and mautrix-go, so that neither
// library is in this module's go.sum and go test ./... runs them all the same.
//
//	go test ./tests/differential -update
//
// writes the generated parts of events/README.md, the benchmarks included, which
// takes two minutes.
package differential

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

var update = flag.Bool("update", false, "write the generated parts of events/README.md")

const module = "../oracle"

// experiment is where Go 1.26 has encoding/json/v2, by which mautrix-go reads
// events. The benchmarks do without: gomatrixserverlib's users have the other one.
const experiment = "GOEXPERIMENT=jsonv2"

// command is of the go tool in the module, whatever go.work is around. Nothing
// there needs a C compiler.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), server.Need(t, "go"), args...)
	cmd.Dir = module
	cmd.Env = append(append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0"), env...)
	return cmd
}

func TestOracle(t *testing.T) {
	if out, err := command(t, nil, "mod", "download").CombinedOutput(); err != nil {
		if os.Getenv("VIRGA_CI") == "1" {
			t.Fatalf("CI needs the libraries: %v\n%s", err, out)
		}
		t.Skipf("the libraries cannot be downloaded here: %v\n%s", err, out)
	}
	if *update {
		run(t, command(t, []string{experiment}, "test", "-count=1", ".", "-args", "-update"))
		run(t, command(t, nil, "run", "./bench", "-update"))
	}
	// Its inputs are outside of its module, where the go tool does not look for
	// changes: this package's own result is cached instead.
	touch(t)
	run(t, command(t, []string{experiment}, "test", "-count=1", "./..."))
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, out[max(0, len(out)-32<<10):])
	}
}

// touch looks at all files that the tests depend on, so that a cached result does
// not outlive them.
func touch(t *testing.T) {
	seen := 0
	for _, root := range []string{module, "../../events"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if slices.Contains([]string{".go", ".mod", ".sum", ".md"}, filepath.Ext(path)) {
				seen++
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Fatal("there are no files to depend on")
	}
}
