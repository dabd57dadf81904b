package server_test

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/tests/server"
)

// readmes are the texts with commands for administrators.
var readmes = []string{"README.md", "infra/aws/README.md"}

var (
	block  = regexp.MustCompile("(?s)```\\w*\n(.*?)```")
	inline = regexp.MustCompile("`([^`\n]+)`")
	goRun  = regexp.MustCompile(`(?:^|[ (])go run \./(\S+)([^#)\n]*)`)
)

// commandsOf are the commands of our own in a text, as package and arguments.
func commandsOf(t *testing.T, text string) (all [][]string) {
	t.Helper()
	var lines []string
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Split(m[1], "\n")...)
	}
	for _, m := range inline.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
		if rest, ok := strings.CutPrefix(m[1], "move "); ok && strings.Contains(rest, " ") { // as texts go on
			lines = append(lines, "go run ./infra/aws/move "+rest)
		}
	}
	for _, line := range lines {
		for _, m := range goRun.FindAllStringSubmatch(line, -1) {
			all = append(all, append([]string{m[1]}, strings.Fields(m[2])...))
		}
	}
	return all
}

// mistaken is what is said to somebody who mistakes a word.
var mistaken = regexp.MustCompile(`(?i)flag provided but not defined|has no flag|has flags only|is not a flag|say what to do|no command|needs \d names|-\w+ says which|-from names|which file|say at the end where`)

// Each command of ours in the texts is one that there is, with the flags that it has.
// Those of infra/aws itself are looked at there, since the CDK takes a minute to compile.
func TestCommandsInTheTextsExist(t *testing.T) {
	dir := t.TempDir()
	programs := map[string]string{"infra/local": server.Binary(t)}
	seen := map[string]bool{}
	for _, file := range readmes {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commandsOf(t, string(text)) {
			name, args := c[0], c[1:]
			seen[name] = true
			if name == "infra/aws" {
				continue
			}
			if programs[name] == "" {
				programs[name] = filepath.Join(dir, path.Base(name))
				if out, err := exec.Command("go", "build", "-o", programs[name], "github.com/virga-im/virga/"+name).CombinedOutput(); err != nil {
					t.Fatalf("%s: there is no program %s: %v\n%s", file, name, err, out)
				}
			}
			for i, a := range args { // what the shell would do
				args[i] = strings.NewReplacer("$stack", "stack", "$", "", "FILE", filepath.Join(dir, "none"), "URL", "http://127.0.0.1:1").Replace(a)
			}
			if name == "infra/local" && (len(args) == 0 || strings.HasPrefix(args[0], "-")) {
				args = append(args, "-help") // it would run
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, programs[name], args...)
			cmd.Dir = t.TempDir()
			// An account that nobody reaches, and gives up on at once.
			cmd.Env = []string{
				"HOME=" + cmd.Dir, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
				"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1",
			}
			out, _ := cmd.CombinedOutput() // most fail, for want of an account or a password
			cancel()
			if mistaken.Match(out) {
				t.Errorf("%s: go run ./%s %s: %s", file, name, strings.Join(args, " "), out)
			}
		}
	}
	for _, want := range []string{"infra/local", "infra/aws", "infra/aws/move", "infra/aws/admin", "infra/aws/smoke"} {
		if !seen[want] {
			t.Errorf("no text tells of %s", want)
		}
	}
	for _, wrong := range [][]string{{"infra/aws/move", "restore", "-stack", "a"}, {"infra/aws/admin", "-stack", "a", "create-user", "-uses", "1", "b"}, {"infra/aws/smoke"}, {"infra/local", "-nosuch"}} {
		if out, _ := exec.Command(programs[wrong[0]], wrong[1:]...).CombinedOutput(); !mistaken.Match(out) {
			t.Errorf("%q is no mistake: %s", wrong, out)
		}
	}
}

// The lists of tables in the texts are all tables, and the shell understands the
// blocks for it.
func TestTextsNameAllTables(t *testing.T) {
	var names []string
	for _, table := range store.Tables {
		names = append(names, table.Name)
	}
	list := regexp.MustCompile(`(?:for t in |tables=")((?:\w+ ){3,}\w+)`)
	for _, file := range append(slices.Clone(readmes), "infra/aws/move/main.go") {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.FindAllStringSubmatch(string(text), -1) {
			if !slices.Equal(strings.Fields(m[1]), names) {
				t.Errorf("%s has the tables %s, and there are %s", file, m[1], names)
			}
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			if file == "README.md" && !strings.Contains(m[1], "go run") {
				continue // a tree of folders
			}
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(m[1])
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s%s", file, err, m[1], out)
			}
		}
	}
}

// Links into the texts lead to headings that there are.
func TestLinksIntoTheTextsLeadSomewhere(t *testing.T) {
	texts := map[string]string{}
	for _, file := range readmes {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	anchors := func(file string) (all []string) {
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(texts[file], -1) {
			all = append(all, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
		}
		return all
	}
	for _, file := range readmes {
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(texts[file], -1) {
			if strings.HasPrefix(m[1], "http") {
				continue
			}
			to := file
			if m[1] != "" {
				to = path.Join(path.Dir(file), m[1])
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s links to %s, which is not there", file, to)
			}
			if m[2] != "" && texts[to] != "" && !slices.Contains(anchors(to), m[2]) {
				t.Errorf("%s links to %s#%s, which is no heading", file, to, m[2])
			}
		}
	}
}
