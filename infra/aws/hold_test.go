package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/route"
)

// A client that follows the redirects waits at the queue that shared/aws has made
// for it, and ends at the route that it came from.
func TestAWaitLeadsBack(t *testing.T) {
	tm := realStack(t)
	gateway := gatewayOf(t, tm, "Api")
	body := at(t, tm.one(t, "Api"), "Body")
	const place = "abcdefghijklmnopqrstuvwx3"
	for _, letter := range places.Queues {
		door := throughDoor(t, tm, []viewer{{Method: "GET", URI: "/hold/sync/ticket-_/" + place + "/" + string(letter), Headers: map[string]string{"X-Virga-Queue": "https://evil.example"}}})[0]
		ref := at(t, body, "paths", waitPath(letter), "x-amazon-apigateway-any-method", "x-amazon-apigateway-integration", "$ref").(string)
		in := at(t, body, "components", "x-amazon-apigateway-integrations", ref[strings.LastIndex(ref, "/")+1:])
		if at(t, in, "integrationSubtype") != "SQS-ReceiveMessage" || gateway.find("GET", door.URI) != "SQS-ReceiveMessage" {
			t.Errorf("%c does not receive: %v", letter, in)
		}
		if at(t, in, "requestParameters", "QueueUrl") != "$request.header.x-virga-queue" || at(t, in, "requestParameters", "WaitTimeSeconds") != "20" {
			t.Errorf("%c receives %v", letter, at(t, in, "requestParameters"))
		}
		if got, want := door.Headers["x-virga-queue"]["value"], "https://sqs.ap-southeast-1.amazonaws.com/123456789012/virga-a_wait_"+place+string(letter); got != want {
			t.Errorf("%c receives from %q, not %q", letter, got, want)
		}
		for _, status := range []string{"200", "400", "403", "404", "500", "503"} {
			to := at(t, in, "responseParameters", status)
			if at(t, to, "overwrite:statuscode") != "307" || at(t, to, "overwrite:header.location") != "done" {
				t.Errorf("%s at %c leads to %v", status, letter, to)
			}
		}
	}
	if got := gateway.find("GET", "/hold/sync/ticket-_/"+place+"/done"); got != "sync" {
		t.Errorf("done is answered by %q", got)
	}
	other := throughDoor(t, tm, []viewer{{Method: "GET", URI: "/_matrix/client/v3/sync", Headers: map[string]string{"X-Virga-Queue": "x"}}})[0]
	if v, ok := other.Headers["x-virga-queue"]; ok {
		t.Errorf("a client names the queue %v", v)
	}
}

// The URL of a queue, its name in the policy, and the names that are made must be
// the same, or requests would wait at nothing.
func TestWaitQueuesAreOfThisStackAlone(t *testing.T) {
	tm := realStack(t)
	const all = "arn:aws:sqs:ap-southeast-1:123456789012:virga-a_wait_*"
	may := func(role string) map[string][]any {
		found := map[string][]any{}
		for _, p := range at(t, tm.one(t, role), "Policies").([]any) {
			for _, st := range at(t, p, "PolicyDocument", "Statement").([]any) {
				for _, action := range at(t, st, "Action").([]any) {
					found[action.(string)] = append(found[action.(string)], at(t, st, "Resource").([]any)...)
				}
			}
		}
		return found
	}
	if got := may("InvokeRole")["sqs:ReceiveMessage"]; !slices.Equal(got, []any{all}) {
		t.Errorf("the gateway receives from %v", got)
	}
	for _, r := range api.Routes() {
		if isAdmin(r) {
			continue
		}
		p := tm.one(t, functionID(r.Name))
		url, _ := at(t, p, "Environment", "Variables", "VIRGA_WAIT_QUEUES").(string)
		role := may(tm.Resources[functionID(r.Name)].Properties["Role"].(map[string]any)["Fn::GetAtt"].([]any)[0].(string))
		wakes, holds := slices.Contains(role["sqs:SendMessage"], any(all)), slices.Contains(role["sqs:CreateQueue"], any(all))
		if wakes || holds {
			if url != "https://sqs.ap-southeast-1.amazonaws.com/123456789012/virga-a_wait_" {
				t.Errorf("%s waits at %q", r.Name, url)
			}
		} else if url != "" {
			t.Errorf("%s is told of queues that it may not use", r.Name)
		}
		if holds != r.Polls() {
			t.Errorf("%s makes queues: %v", r.Name, holds)
		}
		if slices.Contains([]string{"sendMessage", "joinRoomById", "sync", "setTyping"}, r.Name) && !wakes {
			t.Errorf("%s wakes nobody", r.Name)
		}
	}
}

// A browser ends a request at a redirect that it may not read, and the gateway
// cannot set the header that lets it.
func TestBrowsersMayFollowTheWait(t *testing.T) {
	tm := realStack(t)
	for _, b := range at(t, tm.one(t, "Distribution"), "DistributionConfig", "CacheBehaviors").([]any) {
		if at(t, b, "PathPattern") == "/hold/*" {
			if at(t, b, "ResponseHeadersPolicyId") != simpleCORS || at(t, b, "TargetOriginId") != "Api" {
				t.Errorf("%v", b)
			}
			return
		}
	}
	t.Error("no behaviour of the distribution is for waits")
}

func TestSyncInLambdaHasNothingOfQueues(t *testing.T) {
	opts := testOptions("virga-a")
	opts.sync = "lambda"
	routes := slices.DeleteFunc(api.Routes(), func(r route.Route) bool { return !r.Polls() && r.Name != "sendMessage" })
	tm := synth(t, opts, table{routes: routes, workers: api.Workers()})
	raw, err := json.Marshal(tm.Resources)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, gone := range []string{"SQS-ReceiveMessage", "CreateQueue", "VIRGA_WAIT_QUEUES", "/hold/*"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is left", gone)
		}
	}
}
