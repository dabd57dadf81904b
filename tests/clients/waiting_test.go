package clients

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

// waiting are the stories that do not come true yet, and what they wait for: a
// file jssdk/stories/<name>.mjs as "jssdk/<name>", or the name of one in stories.
// Whoever serves what is missing deletes the line.
var waiting = map[string]string{}

// asked are endpoints that a client may ask for in vain, and why it does no harm:
// "METHOD path", of which the path may end in "…".
var asked = map[string]string{
	"GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports": "matrix-js-sdk asks at its start where calls are relayed; without an answer it takes the well-known file",
}

// startServer starts a homeserver. At its end the test fails if a client asked it
// for an endpoint that it does not have, or met an error of the server's own.
func startServer(t *testing.T) *server.Server {
	t.Helper()
	s := server.Start(t, "-presence", "on")
	t.Cleanup(func() {
		s.Kill()
		for _, line := range s.Faults() {
			if !excused(line) {
				t.Errorf("the server logged: %s", line)
			}
		}
	})
	return s
}

func TestWhatWaitsIsAStory(t *testing.T) {
	for name := range waiting {
		known := slices.ContainsFunc(stories, func(s story) bool { return s.name == name })
		if file, ok := strings.CutPrefix(name, "jssdk/"); ok {
			_, err := os.Stat(filepath.Join("jssdk/stories", file+".mjs"))
			known = err == nil
		}
		if !known {
			t.Errorf("there is no story %q, which waits", name)
		}
	}
}

func excused(line string) bool {
	for endpoint := range asked {
		method, path, _ := strings.Cut(endpoint, " ")
		path, open := strings.CutSuffix(path, "…")
		if !open {
			path += " "
		}
		if strings.Contains(line, "method="+method+" ") && strings.Contains(line, " path="+path) {
			return true
		}
	}
	return false
}
