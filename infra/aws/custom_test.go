package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws"
)

func TestEveryOriginSendsTheSecret(t *testing.T) {
	tm, _ := fullStack(t)
	config := at(t, tm.Resources["Distribution"].Properties, "DistributionConfig")
	origins := at(t, config, "Origins").([]any)
	if len(origins) < 2 {
		t.Fatalf("%d origins", len(origins))
	}
	for _, o := range origins {
		headers, _ := at(t, o, "OriginCustomHeaders").([]any)
		if len(headers) != 1 || at(t, headers[0], "HeaderName") != aws.SecretHeader || !isAttribute(at(t, headers[0], "HeaderValue"), "Secret", "Secret") {
			t.Errorf("%v sends %v", at(t, o, "Id"), headers)
		}
	}
}

// isAttribute reports whether a value is an attribute of a resource.
func isAttribute(v any, id, name string) bool {
	m, _ := v.(map[string]any)
	a, _ := m["Fn::GetAtt"].([]any)
	return len(m) == 1 && len(a) == 2 && a[0] == id && a[1] == name
}

func TestEveryFunctionThatAnswersHTTPKnowsTheSecret(t *testing.T) {
	for _, tm := range []*stacked{realStack(t), first(fullStack(t))} {
		answers := map[string]bool{}
		for id := range tm.All("AWS::ApiGatewayV2::Api") {
			for _, ops := range gatewayOf(t, tm, id) {
				for _, name := range ops {
					answers[functionID(name)] = true
				}
			}
		}
		if len(answers) < 50 {
			t.Fatalf("%d functions answer", len(answers))
		}
		for id, f := range tm.All("AWS::Lambda::Function") {
			has := at(t, f.Properties, "Environment", "Variables", aws.SecretEnv)
			if answers[id] != isAttribute(has, "Secret", "Accepted") || !answers[id] && has != nil {
				t.Errorf("%s answers HTTP: %v; it has the secret %v", id, answers[id], has)
			}
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// The template says where the secret comes from, and no output shows it.
func TestNobodyIsShownTheSecret(t *testing.T) {
	tm := realStack(t)
	for id, o := range tm.Outputs {
		if text, _ := json.Marshal(o.Value); strings.Contains(string(text), "Secret") || strings.Contains(string(text), `"Key"`) {
			t.Errorf("the output %s is %s", id, text)
		}
	}
	for id, r := range tm.Resources {
		text, err := json.Marshal(r.Properties)
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Count(string(text), `["Secret","`)
		switch {
		case r.Type == "AWS::Lambda::Function", r.Type == "AWS::CloudFront::Distribution":
		case names > 0:
			t.Errorf("%s, a %s, is told the secret", id, r.Type)
		}
	}
	if got := at(t, tm.Resources["Secret"].Properties, "Key"); !isAttribute(got, "Key", "Key") {
		t.Errorf("the secret is made of %v", got)
	}
}

// An update of the key would make another one, and functions would refuse
// everybody for minutes, so nothing of it may ever change: neither with what an
// administrator decides, nor with a release.
func TestNothingOfTheKeyChanges(t *testing.T) {
	opts := testOptions("virga-a")
	opts.stage, opts.generation, opts.layout = "prod", "2", "group"
	other := synth(t, opts, table{routes: api.Routes()[:1], workers: standInWorkers()})
	for _, tm := range []*stacked{realStack(t), other} {
		text, err := json.Marshal(tm.Resources["Key"])
		if err != nil {
			t.Fatal(err)
		}
		const want = `{"Type":"Custom::VirgaKey","Properties":{"ServiceTimeout":"300","ServiceToken":{"Fn::GetAtt":["provider","Arn"]}},"DeletionPolicy":"","DependsOn":null}`
		if string(text) != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
		if got := tm.Resources["provider"].Properties["FunctionName"]; got != "virga-a_provider" {
			t.Errorf("the function is %v", got)
		}
	}
	if got := at(t, other.Resources["Secret"].Properties, "Generation"); got != "2" {
		t.Errorf("the generation is %v", got)
	}
}

func TestTheProviderMayDeleteWhatWouldStay(t *testing.T) {
	opts := testOptions("virga-a")
	opts.stage = "prod"
	prod := synth(t, opts, table{routes: api.Routes()[:1], workers: standInWorkers()})
	all := map[string]string{
		"cloudformation:DescribeStacks": "arn:aws:cloudformation:ap-southeast-1:123456789012:stack/virga-a/*",
		"lambda:InvokeFunction":         "arn:aws:lambda:ap-southeast-1:123456789012:function:virga-a_provider",
		"sqs:DeleteQueue":               "arn:aws:sqs:ap-southeast-1:123456789012:virga-a_wait_*",
		"sqs:ListQueues":                "*",
		"logs:CreateLogStream":          "arn:aws:logs:ap-southeast-1:123456789012:log-group:/virga/virga-a/workers:*",
		"logs:PutLogEvents":             "arn:aws:logs:ap-southeast-1:123456789012:log-group:/virga/virga-a/workers:*",
	}
	inDev := maps.Clone(all)
	inDev["s3:ListBucketVersions"] = "arn:aws:s3:::virga-a-mediabucket-1a2b3c4d5e6f"
	inDev["s3:DeleteObject"] = "arn:aws:s3:::virga-a-mediabucket-1a2b3c4d5e6f/*"
	inDev["s3:DeleteObjectVersion"] = inDev["s3:DeleteObject"]
	for _, tt := range []struct {
		tm   *stacked
		want map[string]string
	}{{realStack(t), inDev}, {prod, all}} {
		role := at(t, tt.tm.Resources["provider"].Properties, "Role", "Fn::GetAtt", 0).(string)
		got := map[string]string{}
		for _, st := range at(t, tt.tm.one(t, role), "Policies", 0, "PolicyDocument", "Statement").([]any) {
			for _, a := range at(t, st, "Action").([]any) {
				for _, r := range at(t, st, "Resource").([]any) {
					got[a.(string)] += r.(string)
				}
			}
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: got  %v\nwant %v", tt.tm.opts.stage, got, tt.want)
		}
		for id, f := range tt.tm.All("AWS::Lambda::Function") {
			if id != "provider" && at(t, f.Properties, "Role", "Fn::GetAtt", 0) == role {
				t.Errorf("%s has the role of the provider", id)
			}
		}
		// Nothing is emptied in prod, where the bucket stays.
		p := tt.tm.one(t, "Remains")
		if (p["EmptyBucket"] != nil) != (tt.tm.opts.stage == "dev") || p["Queues"] != "virga-a_wait_" {
			t.Errorf("%s: remains %v", tt.tm.opts.stage, p)
		}
	}
}

// CloudFormation deletes what names or waits for another before that other.
func TestTheBucketIsEmptiedAfterAllWritersAreGoneAndBeforeItIsDeleted(t *testing.T) {
	tm := realStack(t)
	needs := map[string][]string{}
	for id, r := range tm.Resources {
		needs[id] = append(named(r.Properties), r.DependsOn...)
	}
	// after lists all that goes after a resource, itself first.
	var after func(id string, path []string) []string
	known := map[string][]string{}
	after = func(id string, path []string) []string {
		if slices.Contains(path, id) {
			t.Fatalf("a circle: %v", append(path, id))
		}
		if known[id] == nil {
			all := []string{id}
			for _, n := range needs[id] {
				if _, ok := tm.Resources[n]; ok {
					all = append(all, after(n, append(path, id))...)
				}
			}
			slices.Sort(all)
			known[id] = slices.Compact(all)
		}
		return known[id]
	}
	for id, r := range tm.Resources {
		gone := after(id, nil)
		if (r.Type == "AWS::Lambda::Function" && id != "provider" || r.Type == "AWS::CloudFront::Distribution") && !slices.Contains(gone, "Remains") {
			t.Errorf("%s may be there when the bucket is emptied", id)
		}
	}
	role := at(t, tm.Resources["provider"].Properties, "Role", "Fn::GetAtt", 0).(string)
	for _, id := range []string{"MediaBucket", "provider", role, "WorkersLogs"} {
		if !slices.Contains(after("Remains", nil), id) {
			t.Errorf("%s may be gone when the bucket is emptied", id)
		}
	}
	if slices.Contains(after("provider", nil), "Secret") {
		t.Error("the function that makes the secret needs it")
	}
}

// named lists the resources that a value names.
func named(v any) (ids []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			ids = append(ids, named(e)...)
		}
	case map[string]any:
		if id, ok := v["Ref"].(string); ok {
			ids = append(ids, id)
		}
		if a, ok := v["Fn::GetAtt"].([]any); ok {
			ids = append(ids, a[0].(string))
		}
		for _, e := range v {
			ids = append(ids, named(e)...)
		}
	}
	return ids
}

func TestAStackWithoutAProviderIsNotMade(t *testing.T) {
	needNode(t)
	oneKernel.Lock()
	defer oneKernel.Unlock()
	code := t.TempDir()
	if err := os.WriteFile(filepath.Join(code, "bootstrap"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	two := append(standInWorkers(), standInWorkers()[5])
	two[len(two)-1].Name = "another"
	for want, tab := range map[string]table{
		"no worker is started by the stack":    {routes: api.Routes()[:1]},
		"two workers are started by the stack": {routes: api.Routes()[:1], workers: two},
	} {
		app := newApp(t.TempDir(), map[string]any{})
		if _, err := newStack(app, testOptions("virga-a"), tab, code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
