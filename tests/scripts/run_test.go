package scripts

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// echo answers with a fixed body, and what it was asked.
type echo string

func (e echo) Base() string { return string(e) }
func (e echo) Restart(bool) {}

func start(t *testing.T) echo {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Got", r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(`{"a": {"b.c": [1, {"d": "x", "e": true}]}, "n": null, "room": "!r:h/#"}`))
	}))
	t.Cleanup(s.Close)
	return echo(s.URL)
}

func try(t *testing.T, target echo, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "s.txt")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Parse(file)
	if err != nil {
		return err.Error()
	}
	r := &run{t: t, script: s, vars: map[string]string{"server": "h"}}
	for _, st := range s.steps {
		if err := r.step(target.Base(), st); err != nil {
			return err.Error()
		}
	}
	return ""
}

func TestExpectationsHold(t *testing.T) {
	target := start(t)
	for _, e := range []string{
		"status 418", "header Got ~ ^GET /x", `body ~ "room"`, `json a."b.c".0 == 1`, `json a."b.c" has {"d": "x"}`,
		`json a."b.c" has 1`, `json a."b.c" lacks 2`, `json a."b.c" len 2`, "json a len 1", `json . has {"a": {}}`, `json . has "n"`,
		"json n exists", "json m absent", `json a."b.c".1.d ~ ^x$`, "json a.9 absent", `json n == null`,
		"$v = room\njson room == \"$v\"", `json room == "!r:$server/#"`, "$h = hmac-sha1 k a b\nbody ~ .",
	} {
		if err := try(t, target, "GET /x\n"+e); err != "" {
			t.Error(e, err)
		}
	}
	for _, e := range []string{
		"status 200", "header Got == x", "body == x", `json a."b.c".0 == 2`, `json a."b.c" has {"d": "y"}`, `json a."b.c" lacks 1`,
		`json a."b.c" len 3`, "json n absent", "json m exists", "json m == null", `json a ~ x`, `json a == {}`, "$v = nothing",
		"json a is 1", "json a == {", `json a == "$unknown"`, `json . has "m"`,
	} {
		if try(t, target, "GET /x\n"+e) == "" {
			t.Error("this held:", e)
		}
	}
}

func TestVariablesAreEscapedInPaths(t *testing.T) {
	const script = `GET /x
status 418
$room = room

PUT /rooms/$room/send as $room
{"$$dollar": 1}
header Got == PUT /rooms/%21r:h%2F%23/send Bearer !r:h/#
`
	if err := try(t, start(t), script); err != "" {
		t.Error(err)
	}
}

func TestMistakesInScriptsAreFound(t *testing.T) {
	for script, want := range map[string]string{
		"status 200":                         "a request is expected",
		"GET /x\n\nGET /y\nstatus 1":         "nothing is expected",
		"GET /x\nstatus 418\nstatsu 200":     "neither",
		"GET /x\n{}\nserver -a b\nstatus 12": "12",
	} {
		if got := try(t, start(t), script); !strings.Contains(got, want) {
			t.Errorf("%q: %q, not %q", script, got, want)
		}
	}
}
