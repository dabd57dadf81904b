package scripts

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/server"
)

// TestScripts runs each script against a process of its own.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			t.Parallel()
			s, err := Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			s.Run(t, process{server.Start(t, s.Flags...)}, "localhost")
		})
	}
}

// TestEveryRoomVersion tells the story of a room of each version.
func TestEveryRoomVersion(t *testing.T) {
	for _, v := range roomversion.All() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			s, err := Parse("versions/room.txt")
			if err != nil {
				t.Fatal(err)
			}
			s.Vars = map[string]string{"version": v.ID}
			s.Run(t, process{server.Start(t, s.Flags...)}, "localhost")
		})
	}
}

type process struct{ s *server.Server }

func (p process) Base() string { return p.s.URL }

func (p process) Restart(kill bool) {
	if kill {
		p.s.Kill()
	}
	p.s.Restart()
}
