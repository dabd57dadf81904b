package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// The examples are read as GitHub does: their words exist, their scripts are
// shell, and nothing that a stranger can choose is pasted into a script.
func TestExamplesAreSound(t *testing.T) {
	files, err := filepath.Glob("examples/*.yml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	said := map[string]string{} // word → the file that says it last
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var workflow struct {
			Name        string
			Permissions map[string]string
			Jobs        map[string]struct {
				If    string
				Steps []struct{ Uses, Run string }
			}
		}
		if err := yaml.Unmarshal(text, &workflow); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				if (step.Uses == "") == (step.Run == "") {
					t.Errorf("%s: a step of %s does nothing: %+v", file, name, step)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: an expression is pasted into a script: %s", file, step.Run)
				}
				check := exec.Command("bash", "-n")
				check.Stdin = strings.NewReader(step.Run)
				if out, err := check.CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s%s", file, err, step.Run, out)
				}
				for _, m := range regexp.MustCompile(`-c (\w+)=("\$STACK|\w*)`).FindAllStringSubmatch(step.Run, -1) {
					if !slices.Contains(allWords(), m[1]) {
						t.Errorf("%s: there is no word %s", file, m[1])
					}
					said[m[1]] = m[2]
				}
			}
			if workflow.Permissions["id-token"] == "write" && !strings.Contains(job.If, "head.repo.full_name == github.repository") {
				t.Errorf("%s: %s gives credentials to forks", file, name)
			}
		}
		if readme, _ := os.ReadFile("examples/README.md"); !strings.Contains(string(readme), "`"+filepath.Base(file)+"`") {
			t.Errorf("%s is not explained", file)
		}
	}
	if said["stage"] != "dev" || said["stack"] != `"$STACK` || said["serverName"] != `"$STACK` {
		t.Errorf("the examples deploy %v", said)
	}
}

// A bucket is emptied of its versions and its delete markers, page by page, and
// then the script ends.
func TestTheBucketOfABranchIsEmptied(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("jq is missing, which GitHub's machines have")
	}
	text, err := os.ReadFile("examples/branch-gone.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs struct {
			Destroy struct {
				Steps []struct{ Name, Run string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const aws = `#!/bin/bash
case "$2" in
describe-stacks) echo pr-1-mediabucket-x ;;
list-object-versions)
	pages=$(cat pages 2>/dev/null)
	[ "$pages" = "" ] && echo '{"Versions": [{"Key": "a b", "VersionId": "null", "Size": 1}], "NextToken": "x"}'
	[ "$pages" = 1 ] && echo '{"DeleteMarkers": [{"Key": "a b", "VersionId": "v2", "IsLatest": true}]}'
	echo -n 1 >>pages ;;
delete-objects) jq -c .Objects versions.json >>deleted ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(aws), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range workflow.Jobs.Destroy.Steps {
		if step.Name != "empty the bucket" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-e", "-c", step.Run)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "STACK=pr-1", "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	deleted, _ := os.ReadFile(filepath.Join(dir, "deleted"))
	if want := "[{\"Key\":\"a b\",\"VersionId\":\"null\"}]\n[{\"Key\":\"a b\",\"VersionId\":\"v2\"}]\n"; string(deleted) != want {
		t.Errorf("deleted\n%swant\n%s", deleted, want)
	}
}
