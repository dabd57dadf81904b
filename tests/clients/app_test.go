package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
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
	tellApps(t, startServer(t).URL)
}

// tellApps tells the stories of jssdk/stories.
func tellApps(t *testing.T, url string) {
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
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{"jssdk/stories.mjs", url}, names...)...)
	var stderr []byte
	cmd.Stderr = writer(func(b []byte) { stderr = append(stderr, b...) })
	out, ended := cmd.Output()

	type line struct {
		Story, Chapter, Error string
		Over                  bool
		MS                    int // since the process began
	}
	told := map[string][]line{}
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		var l line
		if err := lines.Decode(&l); err != nil {
			t.Fatalf("not a line of a story: %v in %s", err, out)
		}
		told[l.Story] = append(told[l.Story], l)
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
	if ended != nil || t.Failed() {
		t.Errorf("the process ended with %v and said:\n%s", ended, stderr[max(0, len(stderr)-32<<10):])
	}
}
