package oracle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/oracle/readme"
)

const eventsFolder = "../../events"

var readmeFile = filepath.Join(eventsFolder, "README.md")

// generated holds a part of events/README.md to what is true, or writes it.
func generated(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := readme.Write(readmeFile, name, want); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := readme.Part(readmeFile, name)
	if err != nil {
		t.Fatal(err)
	}
	if have != want {
		t.Errorf("the %s in events/README.md are stale: run go test ./tests/differential -update", name)
	}
}

func TestReadmeListsTheDivergences(t *testing.T) {
	var b strings.Builder
	area := ""
	for _, d := range divergences {
		if d.area != area {
			area = d.area
			fmt.Fprintf(&b, "\n### %s\n\n| library | what it does | for example | what is on our side |\n| --- | --- | --- | --- |\n", strings.ToUpper(area[:1])+area[1:])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | [%s](https://spec.matrix.org/v1.19/%s) |\n", d.library, readme.Cell(d.what), readme.Cell(d.example), readme.Cell(d.spec), d.link)
	}
	generated(t, "divergences", b.String()+"\n")
}

// The areas stand together, so that each is one table.
func TestDivergencesAreListedByArea(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for _, d := range divergences {
		if d.area != last && seen[d.area] {
			t.Errorf("%q is not with the others of its area", d.what)
		}
		last, seen[d.area] = d.area, true
		if d.what == "" || d.example == "" || d.spec == "" || d.link == "" {
			t.Errorf("%q is not complete", d.what)
		}
	}
}

func TestReadmeListsThePackages(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", "{{.Dir}}\t{{.Name}}\t{{.Doc}}", "./...")
	cmd.Dir = eventsFolder
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(eventsFolder)
	if err != nil {
		t.Fatal(err)
	}
	b := "\n| package | |\n| --- | --- |\n"
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		dir, err := filepath.Rel(folder, fields[0])
		if err != nil || len(fields) != 3 {
			t.Fatalf("go list says %q: %v", line, err)
		}
		doc := strings.TrimPrefix(strings.TrimPrefix(fields[2], "Package "+fields[1]+" "), "is ")
		b += fmt.Sprintf("| [%s](%s) | %s |\n", dir, dir, readme.Cell(strings.ToUpper(doc[:1])+doc[1:]))
	}
	generated(t, "packages", b+"\n")
}

var link = regexp.MustCompile(`\]\(([a-z0-9_/.]+)\)`)

func TestReadmeLinksToFilesThatAreThere(t *testing.T) {
	b, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	all := link.FindAllStringSubmatch(string(b), -1)
	for _, m := range all {
		if _, err := os.Stat(filepath.Join(eventsFolder, m[1])); err != nil {
			t.Errorf("events/README.md links to %s: %v", m[1], err)
		}
	}
	if len(all) == 0 {
		t.Error("events/README.md links to no file")
	}
}
