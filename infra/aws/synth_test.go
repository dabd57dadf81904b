package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/jsii-runtime-go"
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

// template is a synthesised stack.
type template struct {
	opts      options
	tags      map[string]string // of the stack itself
	bytes     int
	took      time.Duration
	Resources map[string]resource
	Outputs   map[string]struct{ Value any }
}

type resource struct {
	Type           string
	Properties     map[string]any
	DeletionPolicy string
	DependsOn      []string
}

func testOptions(stack string) options {
	return options{
		serverName: "example.org", stage: "dev", layout: "route", sync: "sqs", arch: "arm64", stack: stack, logDays: 7, generation: "1",
		settings: map[string]string{"VIRGA_SERVER_NAME": "example.org"},
	}
}

var oneKernel sync.Mutex // the Node process behind CDK does one thing at a time

// synth synthesises the stack of a table with a stand-in for the program.
func synth(t *testing.T, opts options, tab table) *template {
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
	text, err := os.ReadFile(filepath.Join(out, opts.stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Artifacts map[string]struct {
			Properties struct{ Tags map[string]string }
		}
	}
	if raw, err := os.ReadFile(filepath.Join(out, "manifest.json")); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	tm := &template{tags: manifest.Artifacts[opts.stack].Properties.Tags, opts: opts, bytes: len(text), took: time.Since(start)}
	if err := json.Unmarshal(text, tm); err != nil {
		t.Fatal(err)
	}
	return tm
}

// all returns the resources of a type by logical id.
func (tm *template) all(typ string) map[string]resource {
	found := map[string]resource{}
	for id, r := range tm.Resources {
		if r.Type == typ {
			found[id] = r
		}
	}
	return found
}

// one returns the properties of a resource with references resolved.
func (tm *template) one(t *testing.T, id string) map[string]any {
	t.Helper()
	r, ok := tm.Resources[id]
	if !ok {
		t.Fatalf("the stack has no %s", id)
	}
	return tm.resolve(r.Properties).(map[string]any)
}

// The values that references get in tests; the region is one of the longest.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::Region": "ap-southeast-1", "AWS::AccountId": "123456789012",
	"AWS::URLSuffix": "amazonaws.com",
}

// resolve replaces the intrinsic functions that our templates use by what
// CloudFormation would put there.
func (tm *template) resolve(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = tm.resolve(e)
		}
		return out
	case map[string]any:
		if len(v) == 1 {
			for fn, arg := range v {
				switch fn {
				case "Ref":
					return tm.ref(arg.(string))
				case "Fn::GetAtt":
					a := arg.([]any)
					return tm.attribute(a[0].(string), a[1].(string))
				case "Fn::Join":
					a := tm.resolve(arg).([]any)
					var parts []string
					for _, p := range a[1].([]any) {
						parts = append(parts, p.(string))
					}
					return strings.Join(parts, a[0].(string))
				case "Fn::Split":
					a := tm.resolve(arg).([]any)
					var parts []any
					for _, p := range strings.Split(a[1].(string), a[0].(string)) {
						parts = append(parts, p)
					}
					return parts
				case "Fn::Select":
					a := tm.resolve(arg).([]any)
					n, err := strconv.Atoi(fmt.Sprint(a[0]))
					if err != nil {
						panic(err)
					}
					return a[1].([]any)[n]
				case "Fn::Sub":
					text := arg.(string)
					for name, value := range pseudo {
						text = strings.ReplaceAll(text, "${"+name+"}", value)
					}
					return text
				}
			}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = tm.resolve(e)
		}
		return out
	}
	return v
}

// physical is the name that a resource has or would get.
func (tm *template) physical(id string) string {
	r := tm.Resources[id]
	for _, p := range []string{"TableName", "QueueName", "FunctionName", "LogGroupName", "AlarmName", "TopicName", "Name"} {
		if name, ok := r.Properties[p].(string); ok {
			return name
		}
	}
	name := tm.opts.stack + "-" + id + "-1A2B3C4D5E6F"
	if r.Type == "AWS::S3::Bucket" {
		name = strings.ToLower(name)
	}
	return name
}

func (tm *template) ref(id string) string {
	if v, ok := pseudo[id]; ok {
		return v
	}
	if tm.Resources[id].Type == "AWS::SQS::Queue" {
		return "https://sqs.ap-southeast-1.amazonaws.com/123456789012/" + tm.physical(id)
	}
	return tm.physical(id)
}

func (tm *template) attribute(id, name string) string {
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":ap-southeast-1:123456789012:" + rest + tm.physical(id)
	}
	switch r := tm.Resources[id]; r.Type + "." + name {
	case "AWS::DynamoDB::Table.Arn":
		return arn("dynamodb", "table/")
	case "AWS::DynamoDB::Table.StreamArn":
		return arn("dynamodb", "table/") + "/stream/2026-11-21T00:00:00.000"
	case "AWS::SQS::Queue.Arn":
		return arn("sqs", "")
	case "AWS::Lambda::Function.Arn":
		return arn("lambda", "function:")
	case "AWS::Logs::LogGroup.Arn":
		return arn("logs", "log-group:") + ":*"
	case "AWS::S3::Bucket.Arn":
		return "arn:aws:s3:::" + tm.physical(id)
	case "AWS::IAM::Role.Arn":
		return "arn:aws:iam::123456789012:role/" + tm.physical(id)
	case "AWS::Events::Rule.Arn":
		return arn("events", "rule/")
	case "AWS::CloudWatch::Alarm.Arn":
		return arn("cloudwatch", "alarm:")
	case "AWS::SQS::Queue.QueueName":
		return tm.physical(id)
	case "AWS::Lambda::Url.FunctionUrl":
		return "https://" + id + urlHost + "/"
	case "AWS::CloudFront::Distribution.DomainName":
		return "d111111abcdef8.cloudfront.net"
	case "Custom::VirgaKey.Key", "Custom::VirgaSecret.Secret":
		return strings.Repeat("0123456789abcdef", 4)
	case "Custom::VirgaSecret.Accepted": // three secrets
		return strings.Repeat("0123456789abcdef", 12) + ",,"
	}
	return fmt.Sprintf("<%s of %s>", name, id)
}

// urlHost is what follows the id of a function URL in its host name.
const urlHost = ".lambda-url.ap-southeast-1.on.aws"

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
