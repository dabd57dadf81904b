package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

var full struct {
	sync.Once
	table    table
	template *stacked
}

// fullStack synthesises the full table once for all tests.
func fullStack(t *testing.T) (*stacked, table) {
	needNode(t)
	full.Do(func() {
		full.table = fullTable(t)
		full.template = synth(t, testOptions("virga-example-organis"), full.table)
	})
	if full.template == nil {
		t.Fatal("the full table does not synthesise")
	}
	return full.template, full.table
}

var actual struct {
	sync.Once
	template *stacked
}

// realStack synthesises the routes that there are, once for all tests.
func realStack(t *testing.T) *stacked {
	needNode(t)
	actual.Do(func() {
		actual.template = synth(t, testOptions("virga-a"), table{routes: api.Routes(), workers: api.Workers()})
	})
	if actual.template == nil {
		t.Fatal("the routes do not synthesise")
	}
	return actual.template
}

func TestEveryRouteIsAFunction(t *testing.T) {
	tm := realStack(t)
	functions := tm.All("AWS::Lambda::Function")
	paths := gatewayOf(t, tm, "Api")
	for _, r := range api.Routes() {
		if isAdmin(r) {
			continue
		}
		f, ok := functions[functionID(r.Name)]
		if !ok {
			t.Errorf("%s has no function", r.Name)
			continue
		}
		p := f.Properties
		if p["FunctionName"] != "virga-a_"+r.Name || p["Handler"] != r.Name || p["MemorySize"] != float64(r.Size.MemoryMB()) || p["Timeout"] != r.Size.Timeout().Seconds() {
			t.Errorf("%s has the wrong name, handler, memory or timeout: %v", r.Name, p)
		}
		if got := paths.find(r.Method(), fill(strings.TrimSuffix(r.Path(), "{$}"), "x")); got != r.Name {
			t.Errorf("the gateway sends %s to %s", r.Pattern, got)
		}
	}
	t.Logf("the routes of today: %s", census(tm))
}

// The limits are AWS's where it does not raise them, with room for what a
// release may add: 500 resources, 300 routes, 10 KB of policies a role.
func TestTheWholeOfMatrixFitsOneStack(t *testing.T) {
	tm, tab := fullStack(t)
	if n := len(tm.Resources); n > 450 {
		t.Errorf("%d resources, want at most 450", n)
	}
	if tm.Bytes > 900<<10 {
		t.Errorf("the template has %d KB, want at most 900", tm.Bytes>>10)
	}
	for id := range tm.All("AWS::ApiGatewayV2::Api") {
		if n := gatewayOf(t, tm, id).count(); n > 280 {
			t.Errorf("%s has %d routes, want at most 280", id, n)
		}
	}
	if n := len(distributionOf(t, tm)); n > 22 {
		t.Errorf("the distribution has %d behaviours, want at most 22 of the 25 that it may have", n)
	}
	roles := tm.All("AWS::IAM::Role")
	if len(roles) > 40 {
		t.Errorf("%d roles, want at most 40", len(roles))
	}
	largest := 0
	for id := range roles {
		total := 0
		for _, p := range at(t, tm.one(t, id), "Policies").([]any) {
			total += size(at(t, p, "PolicyDocument"))
		}
		largest = max(largest, total)
		if total > 8<<10 {
			t.Errorf("%s has policies of %d bytes, want at most 8 KB", id, total)
		}
	}
	environment := 0
	for id := range tm.All("AWS::Lambda::Function") {
		p := tm.one(t, id)
		if name := p["FunctionName"].(string); len(name) > 64 {
			t.Errorf("%s has %d characters, want at most 64", name, len(name))
		}
		n := 0
		for k, v := range at(t, p, "Environment", "Variables").(map[string]any) {
			n += len(k) + len(v.(string))
		}
		environment = max(environment, n)
		if n > 4<<10 {
			t.Errorf("%s has an environment of %d bytes, want at most 4 KB", id, n)
		}
	}
	aliases, unstable := 0, 0
	for _, r := range tab.routes {
		for _, p := range r.Patterns()[1:] {
			if strings.Contains(p, "/unstable/") {
				unstable++
			} else {
				aliases++
			}
		}
	}
	t.Logf("the whole of Matrix: %d declared routes with %d older and %d unstable spellings; %s; the largest role has %d bytes, the largest environment %d",
		len(tab.routes), aliases, unstable, census(tm), largest, environment)
	t.Log("roles: " + strings.Join(slices.Sorted(maps.Keys(roles)), " "))
}

// census counts what a stack is made of.
func census(tm *stacked) string {
	routes := 0
	var apis []string
	for id := range tm.All("AWS::ApiGatewayV2::Api") {
		n := len(strings.Split(fmt.Sprint(tm.Resources[id].Properties["Body"]), "x-amazon-apigateway-integration:map")) - 1
		routes += n
		apis = append(apis, fmt.Sprint(n))
	}
	slices.Sort(apis)
	return fmt.Sprintf("%d resources, %d functions, %d of them with a URL, %d roles, %d gateway routes (%s), %d log groups, template of %d KB, synthesised in %.1f s",
		len(tm.Resources), len(tm.All("AWS::Lambda::Function")), len(tm.All("AWS::Lambda::Url")), len(tm.All("AWS::IAM::Role")), routes, strings.Join(apis, " + "),
		len(tm.All("AWS::Logs::LogGroup")), tm.Bytes>>10, tm.took.Seconds())
}

// A stack named a and one named a-test live in one account, and no statement of
// one reaches anything of the other.
func TestNoStackReachesAnother(t *testing.T) {
	small := table{routes: fullTable(t).routes[:60], workers: standInWorkers()}
	one := synth(t, testOptions("virga-a"), small)
	other := synth(t, testOptions("virga-a-test"), small)
	for _, pair := range [][2]*stacked{{one, other}, {other, one}} {
		theirs := everyARN(t, pair[1])
		own := everyARN(t, pair[0])
		if len(theirs) < 80 {
			t.Fatalf("only %d resources found", len(theirs))
		}
		for id := range pair[0].All("AWS::IAM::Role") {
			for _, p := range at(t, pair[0].one(t, id), "Policies").([]any) {
				for _, st := range at(t, p, "PolicyDocument", "Statement").([]any) {
					for _, res := range at(t, st, "Resource").([]any) {
						text := res.(string)
						if text == "*" && slices.Equal(at(t, st, "Action").([]any), []any{"sqs:ListQueues"}) {
							continue // which IAM knows no resource for
						}
						if text == "*" || strings.Contains(text, "<") {
							t.Errorf("%s: the resource %s", id, text)
						}
						m := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, ".*") + "$")
						for _, arn := range theirs {
							if m.MatchString(arn) {
								t.Errorf("%s of %s reaches %s", id, pair[0].opts.stack, arn)
							}
						}
						if !slices.ContainsFunc(own, m.MatchString) && !strings.Contains(text, ":s3:::") {
							t.Errorf("%s: %s matches nothing of its own stack", id, text)
						}
					}
				}
			}
		}
	}
}

// everyARN lists the ARNs of what roles are granted.
func everyARN(t *testing.T, tm *stacked) []string {
	all := []string{
		"arn:aws:cloudformation:ap-southeast-1:123456789012:stack/" + tm.opts.stack + "/0a1b2c3d",
		"arn:aws:sqs:ap-southeast-1:123456789012:" + tm.opts.stack + "_wait_Zm9va", // made while the server runs
	}
	for id, r := range tm.Resources {
		switch r.Type {
		case "AWS::DynamoDB::Table":
			all = append(all, tm.attribute(t, id, "Arn"), tm.attribute(t, id, "StreamArn"))
		case "AWS::S3::Bucket":
			all = append(all, tm.attribute(t, id, "Arn"), tm.attribute(t, id, "Arn")+"/media/x")
		case "AWS::Logs::LogGroup":
			all = append(all, tm.attribute(t, id, "Arn"), strings.TrimSuffix(tm.attribute(t, id, "Arn"), "*")+"log-stream:x")
		case "AWS::SQS::Queue", "AWS::Lambda::Function":
			all = append(all, tm.attribute(t, id, "Arn"))
		}
	}
	return all
}

func TestSpellingsShareOneIntegration(t *testing.T) {
	tm, tab := fullStack(t)
	integrations := at(t, tm.Resources["Api"].Properties, "Body", "components", "x-amazon-apigateway-integrations").(map[string]any)
	clients := 0
	for _, r := range tab.routes {
		if !isAdmin(r) {
			clients++
		}
	}
	waits := 0
	for name, in := range integrations {
		if at(t, in, "integrationSubtype") != nil {
			waits++
			continue
		}
		if at(t, in, "payloadFormatVersion") != "2.0" || at(t, in, "credentials", "Fn::GetAtt", 0) != "InvokeRole" {
			t.Errorf("%s: %v", name, in)
		}
	}
	if len(integrations) != clients+1+waits {
		t.Errorf("%d integrations for %d routes, unknown, and %d waits", len(integrations), clients, waits)
	}
}

func TestSmallStacksHaveNoSecondAPI(t *testing.T) {
	tm := synth(t, testOptions("virga-a"), table{routes: []route.Route{{
		Name: "getVersions", Pattern: "GET /_matrix/client/versions", Auth: route.Public, Handler: standInHandler,
	}}, workers: standInWorkers()})
	if n := len(tm.All("AWS::ApiGatewayV2::Api")); n != 1 {
		t.Errorf("%d APIs", n)
	}
	if b := at(t, tm.one(t, "Distribution"), "DistributionConfig", "CacheBehaviors"); b != nil {
		t.Errorf("behaviours %v", b)
	}
}
