package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAppsOnJSSDK runs jssdk/stories, which are about what the SDK itself makes of
// the answers: names of rooms, local echoes, threads, pagination. One process
// tells them all at once.
func TestAppsOnJSSDK(t *testing.T) {
	installJS(t)
	t.Parallel()
	tellApps(t, startServer(t).URL, 100)
}

// tellApps tells the stories of jssdk/stories, so many at once.
func tellApps(t *testing.T, url string, atOnce int) {
	t.Helper()
	node := installJS(t)[0]
	files, err := filepath.Glob("jssdk/stories/*.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".mjs")
		if why := waiting["jssdk/"+name]; why != "" {
			t.Logf("%s waits: %s", name, why)
			continue
		}
		names = append(names, name)
	}
	told := map[string][]line{}
	var stderr []byte
	for some := range slices.Chunk(names, atOnce) {
		said, err := tellSome(t, &stderr, node, append([]string{"jssdk/stories.mjs", url}, some...)...)
		if err != nil {
			t.Errorf("the process ended with %v", err)
		}
		for _, l := range said {
			told[l.Story] = append(told[l.Story], l)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			over := false
			for _, l := range told[name] {
				if l.Chapter != "" {
					t.Logf("%5d ms: %s", l.MS, l.Chapter)
				}
				if l.Error != "" {
					t.Errorf("and then: %s", l.Error)
				}
				over = over || l.Over || l.Error != ""
			}
			if !over {
				t.Error("the story has no end")
			}
		})
	}
	if t.Failed() {
		t.Errorf("the processes said:\n%s", stderr[max(0, len(stderr)-32<<10):])
	}
}

// line is a line of a process that tells stories.
type line struct {
	Story, Chapter, Error string
	Over                  bool
	MS                    int // since the process began
}

func tellSome(t *testing.T, stderr *[]byte, node string, args ...string) (told []line, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Stderr = writer(func(b []byte) { *stderr = append(*stderr, b...) })
	out, err := cmd.Output()
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		var l line
		if err := lines.Decode(&l); err != nil {
			t.Fatalf("not a line of a story: %v in %s", err, out)
		}
		told = append(told, l)
	}
	return told, err
}
