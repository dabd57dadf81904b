package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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
