// Package upgrade holds this program against the release before it: what one of
// them wrote serves the other, in both directions. On AWS functions of both run
// beside each other for the length of a deploy, and an administrator who is not
// content goes back.
package upgrade

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/tests/scripts"
	"github.com/virga-im/virga/tests/server"
)

// previous is the commit of the release before this one. It moves with each
// release, and never skips one.
const previous = "7925b50ca2a00062165ff3bbc105101c08a52c29"

// release is the source of the release before this one, and its program.
type release struct{ dir, binary string }

var old = sync.OnceValues(func() (r release, err error) {
	if r.dir, err = os.MkdirTemp("", "virga-previous-"); err != nil {
		return r, err
	}
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return r, fmt.Errorf("the repository: %w", err)
	}
	archive := exec.Command("git", "-C", strings.TrimSpace(string(top)), "archive", previous)
	tar := exec.Command("tar", "-x", "-C", r.dir)
	if tar.Stdin, err = archive.StdoutPipe(); err != nil {
		return r, err
	}
	if err := tar.Start(); err != nil {
		return r, err
	}
	if err := archive.Run(); err != nil {
		return r, fmt.Errorf("the source of %s: %w", previous, err)
	}
	if err := tar.Wait(); err != nil {
		return r, err
	}
	r.binary = filepath.Join(r.dir, "virga")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", r.binary, "./infra/local")
	build.Dir = r.dir
	if out, err := build.CombinedOutput(); err != nil {
		return r, fmt.Errorf("build %s: %w\n%s", previous, err, out)
	}
	return r, nil
})

// need returns the release before, or skips the test in a clone without history.
func need(t *testing.T) release {
	t.Helper()
	server.Need(t, "git")
	if exec.Command("git", "cat-file", "-e", previous+"^{commit}").Run() != nil {
		t.Skipf("this clone does not have the release before, %s", previous)
	}
	r, err := old()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := old(); err == nil {
		_ = os.RemoveAll(r.dir)
	}
	os.Exit(code)
}

// each is after how many steps of a script the program is exchanged.
const each = 15

// alternating is a homeserver on one folder whose program is exchanged again and
// again.
type alternating struct {
	t        *testing.T
	s        *server.Server
	programs []string
	turn     int
	steps    int
}

// Base implements scripts.Target.
func (a *alternating) Base() string {
	if a.steps++; a.steps%each == 0 {
		a.Restart(false)
	}
	return a.s.URL
}

// Restart implements scripts.Target.
func (a *alternating) Restart(kill bool) {
	if kill {
		a.s.Kill()
	}
	a.turn++
	a.s.RestartAs(a.programs[a.turn%len(a.programs)])
}

// forgotten are the scripts that lean on what a process remembers, by what that is.
var forgotten = map[string]string{
	"lazy_members": "which members a device was told of",
	"rate_limits":  "who has asked for how much",
	"guessing":     "how often somebody guessed",
}

// TestStoriesHoldWhileReleasesAlternate runs the scripts of the release before,
// whose routes both have.
func TestStoriesHoldWhileReleasesAlternate(t *testing.T) {
	before := need(t)
	files, err := filepath.Glob(filepath.Join(before.dir, "tests/scripts/*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the release before has no scripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if forgotten[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := scripts.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			a := &alternating{t: t, programs: []string{before.binary, server.Binary(t)}}
			a.s = server.StartAs(t, before.binary, s.Flags...)
			s.Run(t, a, "localhost")
		})
	}
}

// A program that is older than what is in its folder must not take it for less
// than it is.
func TestNothingOfTheFolderIsLost(t *testing.T) {
	before := need(t)
	s := server.StartAs(t, before.binary)
	register := func(name string) {
		post(t, s.URL, "/register", `{"username":"`+name+`","password":"a password","auth":{"type":"m.login.dummy"}}`)
	}
	login := func(name string) {
		post(t, s.URL, "/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"`+name+`"},"password":"a password"}`)
	}
	register("alice")
	s.RestartAs(server.Binary(t))
	register("bob")
	login("alice")
	s.RestartAs(before.binary)
	login("alice")
	login("bob")
	s.RestartAs(server.Binary(t))
	login("alice")
	login("bob")
}

func post(t *testing.T, base, path, body string) {
	t.Helper()
	resp, err := http.Post(base+"/_matrix/client/v3"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", path, resp.Status, text)
	}
}
