package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if _, err := exec.LookPath("node"); err == nil {
		jsii.Close()
	}
	os.Exit(code)
}

// needNode skips the test where there is no Node, which synthesis and the front
// door run in; in CI that is a failure.
func needNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err == nil {
		return
	}
	if os.Getenv("VIRGA_CI") == "1" {
		t.Fatal("Node is missing: the stack cannot be synthesised")
	}
	t.Skip("Node is missing: the stack cannot be synthesised here")
}

// stacked is a synthesised stack and what it was made from.
type stacked struct {
	*template.Template
	opts options
	took time.Duration
}

func testOptions(stack string) options {
	return options{
		serverName: "example.org", stage: "dev", layout: "route", sync: "sqs", arch: "arm64", stack: stack, logDays: 7,
		settings: map[string]string{"VIRGA_SERVER_NAME": "example.org"},
	}
}

var oneKernel sync.Mutex // the Node process behind CDK does one thing at a time

// synth synthesises the stack of a table with a stand-in for the program.
func synth(t *testing.T, opts options, tab table) *stacked {
	t.Helper()
	needNode(t)
	oneKernel.Lock()
	defer oneKernel.Unlock()
	code, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(code, "bootstrap"), []byte("a stand-in"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	app := newApp(out, map[string]any{"@aws-cdk/core:explicitStackTags": true})
	if _, err := newStack(app, opts, tab, code); err != nil {
		t.Fatal(err)
	}
	app.Synth(nil)
	tm, err := template.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	tm.Pseudo["AWS::Region"] = longRegion
	tm.Value = func(id, attribute string) (any, bool) {
		switch tm.Resources[id].Type + "." + attribute {
		case "Custom::VirgaKey.Key", "Custom::VirgaSecret.Secret":
			return strings.Repeat("0123456789abcdef", 4), true
		case "Custom::VirgaSecret.Accepted": // three secrets
			return strings.Repeat("0123456789abcdef", 12) + ",,", true
		}
		return nil, false
	}
	return &stacked{Template: tm, opts: opts, took: time.Since(start)}
}

// longRegion is one of the regions with the longest names, for what has a limit.
const longRegion = "ap-southeast-1"

// one returns the properties of a resource with references resolved.
func (tm *stacked) one(t *testing.T, id string) map[string]any {
	t.Helper()
	p, err := tm.Properties(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// attribute returns an attribute that the resource has.
func (tm *stacked) attribute(t *testing.T, id, name string) string {
	t.Helper()
	v, err := tm.Attribute(id, name)
	if err != nil {
		t.Fatal(err)
	}
	return v.(string)
}

// output returns the value of an output.
func (tm *stacked) output(t *testing.T, id string) any {
	t.Helper()
	v, err := tm.Resolve(tm.Outputs[id].Value)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// at walks into nested properties; a number is an index.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for i, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				t.Fatalf("nothing at %v", path[:i+1])
			}
			v = l[step]
		}
	}
	return v
}

func size(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return len(text)
}
