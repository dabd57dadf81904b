package moving

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/scripts"
)

// rebased are the scripts that hold on to a token of /sync across a restart, and look at
// what is new since then. After a move they are told where the room stands instead, as
// TestEveryClientGoesOn has it.
var rebased = map[string]bool{"conversation": true, "event_stream": true, "lazy_members": true, "paging": true}

var restarts = regexp.MustCompile(`(?m)^(kill|restart)$`)

// TestStoriesHoldAcrossMoves runs the request scripts against a server that is moved
// to DynamoDB and back wherever a script restarts it.
func TestStoriesHoldAcrossMoves(t *testing.T) {
	files, err := filepath.Glob("../scripts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	moves := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if rebased[name] || !restarts.Match(text) {
			continue
		}
		s, err := scripts.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			m := start(t, true, s.Flags...)
			s.Run(t, m, m.cfg.ServerName)
			moves += m.moves
		})
	}
	if moves == 0 {
		t.Error("no script moved its server")
	}
}
