package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

// An sdk is a library that apps are made of, and the program here that uses it.
type sdk struct {
	name    string
	folder  string
	install func(t *testing.T) (command []string)
}

var (
	jsSDK   = sdk{"matrix-js-sdk", "jssdk", installJS}
	mautrix = sdk{"mautrix-go", "mautrix", installMautrix}
)

// oldestNode is older than what matrix-js-sdk asks for, and enough for it.
const oldestNode = 20

func installJS(t *testing.T) []string {
	t.Helper()
	node, npm := server.Need(t, "node"), server.Need(t, "npm")
	version, err := exec.Command(node, "--version").Output()
	if err != nil {
		t.Fatalf("node --version: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		unavailable(t, "matrix-js-sdk needs Node %d or later, and this is %s", oldestNode, version)
	}
	if err := installModules(npm, "jssdk"); err != nil {
		unavailable(t, "npm cannot install matrix-js-sdk here: %v", err)
	}
	return []string{node, "jssdk/client.mjs"}
}

var installing sync.Mutex

// installModules runs npm ci in the folder unless node_modules is of its lock
// file. Other test processes wait meanwhile.
func installModules(npm, folder string) error {
	installing.Lock()
	defer installing.Unlock()
	path := filepath.Join(folder, "package-lock.json")
	unlock, err := lockFile(path)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	want, stamp := hex.EncodeToString(sum[:]), filepath.Join(folder, "node_modules", ".installed")
	switch have, err := os.ReadFile(stamp); {
	case err == nil && string(have) == want:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}

func installMautrix(t *testing.T) []string {
	t.Helper()
	// The module is apart, so that the product's go.sum never hears of it.
	cmd := command("go", "mod", "download")
	cmd.Dir = "mautrix"
	if out, err := cmd.CombinedOutput(); err != nil {
		unavailable(t, "mautrix-go cannot be downloaded here: %v\n%s", err, out)
	}
	bin, err := buildMautrix()
	if err != nil {
		t.Fatal(err)
	}
	return []string{bin}
}

// built is where programs are built.
var built string

var buildMautrix = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(built, "mautrix")
	// Nothing here encrypts, so nothing needs libolm, and so no C compiler.
	cmd := command("go", "build", "-o", bin, ".")
	cmd.Dir = "mautrix"
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tests/clients/mautrix: %w\n%s", err, out)
	}
	return bin, nil
})

// command is of the go tool in a module of its own, whatever go.work is around.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return cmd
}

// unavailable skips a test for want of something that a user's machine may not
// have, and fails it in CI, where nothing may be skipped.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("VIRGA_CI") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "virga-clients-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(built)
		// A cached result of these tests must not outlive their programs.
		for _, dir := range []string{"jssdk", "jssdk/stories", "mautrix"} {
			files, _ := filepath.Glob(filepath.Join(dir, "*.*"))
			for _, f := range files {
				_, _ = os.Stat(f)
			}
		}
		return m.Run()
	}())
}
