package rooms

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
)

var update = flag.Bool("update", false, "write digests.txt and signed/")

func all(t *testing.T) []Story {
	t.Helper()
	all, err := stories()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// said is a verdict in the words of Line.want.
func said(v receipt.Verdict, r *receipt.Received) string {
	switch {
	case v.Outcome == receipt.Accepted && r.Redacted():
		return "redacted"
	case v.Outcome == receipt.Dropped:
		return fmt.Sprintf("dropped %d", v.Check)
	case v.Rule != "":
		return v.Outcome.String() + " " + v.Rule
	}
	return v.Outcome.String()
}

// TestStories tells every story in every version that it is of.
func TestStories(t *testing.T) {
	var digests strings.Builder
	signed := map[string][]byte{}
	for _, s := range all(t) {
		for _, v := range s.Versions {
			events, _, err := tell(&s, v)
			if err != nil {
				t.Errorf("%s in version %s: %v", s.Name, v.ID, err)
				continue
			}
			judge(t, s.Name, v, events)
			told := encode(t, events)
			fmt.Fprintf(&digests, "%s\t%s\t%d\t%x\n", s.Name, v.ID, len(events), sha256.Sum256(told))
			if strings.HasPrefix(s.Name, "everyday") {
				signed[filepath.Join("signed", fmt.Sprintf("%s-v%s.jsonl", s.Name, v.ID))] = told
			}
		}
	}
	golden(t, "digests.txt", []byte(digests.String()))
	for name, content := range signed {
		golden(t, name, content)
	}
	files, err := filepath.Glob("signed/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if signed[file] == nil {
			t.Errorf("%s is of no story", file)
		}
	}
}

// TestSignedRooms judges the bytes that were written down, whatever the stories
// would be made into today.
func TestSignedRooms(t *testing.T) {
	heard := map[string]bool{}
	for _, v := range roomversion.All() {
		files, err := filepath.Glob("signed/*-v" + v.ID + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var events []Signed
			for line := range bytes.Lines(b) {
				var e Signed
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				events = append(events, e)
			}
			judge(t, file, v, events)
			heard[v.ID] = len(events) > 0
		}
		if !heard[v.ID] {
			t.Errorf("version %s has no everyday room", v.ID)
		}
	}
}

// judge receives events in a world of their own and compares.
func judge(t *testing.T, name string, v *roomversion.Version, events []Signed) {
	t.Helper()
	w := NewWorld(v)
	for i, e := range events {
		verdict, r := w.Receive(e.Event)
		if got := said(verdict, r); got != e.Want {
			t.Errorf("%s in version %s, event %d (%s): %s, want %s: %v", name, v.ID, i+1, e.As, got, e.Want, verdict.Err)
		}
	}
}

// TestEveryRuleRejectsSomething holds the stories to the rules: in every room
// version, every rule that rejects does so in some story, or else it is not known
// to work.
func TestEveryRuleRejectsSomething(t *testing.T) {
	reached := map[string]map[string]bool{}
	for _, v := range roomversion.All() {
		reached[v.ID] = map[string]bool{}
	}
	for _, s := range all(t) {
		for _, v := range s.Versions {
			_, verdicts, err := tell(&s, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, verdict := range verdicts {
				if verdict.Outcome == receipt.Rejected {
					reached[v.ID][verdict.Rule] = true
				}
			}
		}
	}
	for _, v := range roomversion.All() {
		for _, rule := range auth.Rules(v) {
			if !reached[v.ID][rule] {
				t.Errorf("version %s: no story is rejected by rule %s", v.ID, rule)
			}
			delete(reached[v.ID], rule)
		}
		if rest := slices.Sorted(maps.Keys(reached[v.ID])); len(rest) > 0 && !(len(rest) == 1 && rest[0] == "") {
			t.Errorf("version %s: rejected by rules that auth.Rules does not know: %q", v.ID, rest)
		}
	}
}

func encode(t *testing.T, events []Signed) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range events {
		if !json.Valid(e.Event) {
			e.Event, _ = json.Marshal(string(e.Event))
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes()
}

// golden compares a file with what it should hold, or writes it with -update.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the stories make: if that is right, run with -update (%v)", name, err)
	}
}
