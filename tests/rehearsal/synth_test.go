package rehearsal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// What is rehearsed is what is deployed: a stack for this machine differs from one
// for AWS in the processor and in the name of the program's archive.
func TestTheRehearsedStackIsTheDeployedOne(t *testing.T) {
	t.Parallel()
	words := map[string]string{"serverName": ServerName, "registration": "open", "rateLimits": "off", "presence": "off", "arch": "host"}
	here := general(t, Synthesise(t, words))
	words["arch"] = "arm64"
	there := general(t, Synthesise(t, words))
	for id, r := range there {
		if !reflect.DeepEqual(here[id], r) {
			t.Errorf("%s is\n%v\nhere, and\n%v\non AWS", id, here[id], r)
		}
	}
	if len(here) != len(there) || len(here) < 100 {
		t.Errorf("%d things here, %d on AWS", len(here), len(there))
	}
}

var assetKey = regexp.MustCompile(`[0-9a-f]{64}\.zip`)

// general returns the resources and outputs of a template without what may differ.
func general(t *testing.T, dir string) map[string]any {
	t.Helper()
	tm, err := template.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, tm.Stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		Resources, Outputs, Parameters, Rules map[string]any
	}
	var top map[string]any
	general := assetKey.ReplaceAllLiteralString(string(text), "ASSET.zip")
	processor := map[string]string{"amd64": "x86_64"}[runtime.GOARCH]
	if processor != "" {
		general = strings.ReplaceAll(general, `"Architectures":["`+processor+`"]`, `"Architectures":["arm64"]`)
	}
	for _, into := range []any{&whole, &top} {
		if err := json.Unmarshal([]byte(general), into); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]any{}
	for _, part := range []map[string]any{whole.Resources, whole.Outputs, whole.Parameters, whole.Rules} {
		for id, r := range part {
			all[id] = r
		}
	}
	for name := range top {
		switch name {
		case "Description", "Resources", "Outputs", "Parameters", "Rules":
		default:
			t.Errorf("the template has %s, which is not compared", name)
		}
	}
	return all
}
