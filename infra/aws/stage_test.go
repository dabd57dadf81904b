package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

func TestNothingIsCached(t *testing.T) {
	tm, _ := fullStack(t)
	policy := at(t, tm.one(t, "CachePolicy"), "CachePolicyConfig")
	if at(t, policy, "MinTTL") != 0.0 || at(t, policy, "DefaultTTL") != 0.0 || at(t, policy, "MaxTTL") != 1.0 {
		t.Errorf("times to live: %v", policy)
	}
	key := at(t, policy, "ParametersInCacheKeyAndForwardedToOrigin")
	headers := at(t, key, "HeadersConfig", "Headers").([]any)
	for _, h := range []any{"Authorization", "X-Virga-Uri"} {
		if !slices.Contains(headers, h) {
			t.Errorf("%s is not in the key: %v", h, headers)
		}
	}
	config := at(t, tm.one(t, "Distribution"), "DistributionConfig")
	uncached := map[float64]bool{}
	for _, e := range at(t, config, "CustomErrorResponses").([]any) {
		if at(t, e, "ErrorCachingMinTTL") == 0.0 {
			uncached[at(t, e, "ErrorCode").(float64)] = true
		}
	}
	for _, status := range []float64{400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504} {
		if !uncached[status] {
			t.Errorf("errors %v are kept", status)
		}
	}
	behaviours := append([]any{at(t, config, "DefaultCacheBehavior")}, at(t, config, "CacheBehaviors").([]any)...)
	if !slices.ContainsFunc(behaviours[1:], func(b any) bool {
		return at(t, b, "PathPattern") == "/_synapse/*" && at(t, b, "TargetOriginId") == "AdminApi"
	}) {
		t.Errorf("behaviours: %v", behaviours)
	}
	for _, b := range behaviours {
		if at(t, b, "CachePolicyId") != tm.Physical("CachePolicy") || at(t, b, "OriginRequestPolicyId") != allViewerExceptHost {
			t.Errorf("policies of %v", b)
		}
		if n := len(at(t, b, "AllowedMethods").([]any)); n != 7 {
			t.Errorf("%d methods are allowed", n)
		}
		if f := at(t, b, "FunctionAssociations", 0); at(t, f, "EventType") != "viewer-request" {
			t.Errorf("the front door is not in the way: %v", f)
		}
		for _, gone := range []string{"ForwardedValues", "MinTTL", "DefaultTTL", "MaxTTL"} {
			if at(t, b, gone) != nil {
				t.Errorf("%s is set", gone)
			}
		}
	}
	for _, o := range at(t, config, "Origins").([]any) {
		id := at(t, o, "Id").(string)
		longest, who := 30.0, "the gateway"
		if f := functionOfURL(t, tm, id); f != "" {
			longest, who = tm.one(t, functionID(f))["Timeout"].(float64), f
		}
		if s := at(t, o, "CustomOriginConfig", "OriginReadTimeout").(float64); s <= longest || s > 60 {
			t.Errorf("the distribution gives up %s after %v s, before it ends, or may not wait for it", who, s)
		}
	}
	for id, r := range tm.All("AWS::ApiGatewayV2::Api") {
		if r.Properties["CorsConfiguration"] != nil {
			t.Errorf("%s has CORS of its own, which would replace that of the routes", id)
		}
	}
}

func TestProductionDataOutlivesTheStack(t *testing.T) {
	dev := realStack(t)
	opts := testOptions("virga-prod")
	opts.stage = "prod"
	prod := synth(t, opts, table{routes: api.Routes(), workers: api.Workers()})
	for _, tt := range []struct {
		tm   *stacked
		keep bool
		want string
	}{{dev, false, "Delete"}, {prod, true, "Retain"}} {
		if n := len(tt.tm.All("AWS::DynamoDB::Table")); n != len(store.Tables) {
			t.Errorf("%d tables, want %d", n, len(store.Tables))
		}
		for _, tab := range store.Tables {
			id := logical(tab.Name) + "Table"
			p := tt.tm.one(t, id)
			if got := tt.tm.Resources[id].DeletionPolicy; got != tt.want {
				t.Errorf("%s: deletion policy %s, want %s", id, got, tt.want)
			}
			if at(t, p, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != tt.keep || p["DeletionProtectionEnabled"] != tt.keep {
				t.Errorf("%s: %v", id, p)
			}
			if p["TableName"] != tt.tm.opts.stack+"_"+tab.Name || p["BillingMode"] != "PAY_PER_REQUEST" ||
				at(t, p, "TimeToLiveSpecification", "AttributeName") != store.TTL ||
				at(t, p, "KeySchema", 0, "AttributeName") != store.PartAttr || at(t, p, "KeySchema", 1, "AttributeName") != store.SortAttr {
				t.Errorf("%s: %v", id, p)
			}
			if got := at(t, p, "StreamSpecification", "StreamViewType"); (got == "KEYS_ONLY") != tab.Streamed {
				t.Errorf("%s: stream %v", id, got)
			}
		}
		for id := range tt.tm.All("AWS::S3::Bucket") {
			if got := tt.tm.Resources[id].DeletionPolicy; got != tt.want {
				t.Errorf("%s: deletion policy %s, want %s", id, got, tt.want)
			}
		}
		for id, r := range tt.tm.All("AWS::Logs::LogGroup") {
			if r.DeletionPolicy != "Delete" || r.Properties["RetentionInDays"] == nil {
				t.Errorf("%s stays for ever: %v", id, r)
			}
		}
	}
	for id, f := range dev.All("AWS::Lambda::Function") {
		if at(t, f.Properties, "LoggingConfig", "LogGroup", "Ref") == nil {
			t.Errorf("%s would make a log group of its own", id)
		}
	}
}

func TestADomainGetsRecordsOrSaysWhichToMake(t *testing.T) {
	opts := testOptions("virga-a")
	opts.domain, opts.certificate = "m.example.org", "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
	tab := table{routes: api.Routes()[:1], workers: standInWorkers()}
	byHand := synth(t, opts, tab)
	if n := len(byHand.All("AWS::Route53::RecordSet")); n != 0 || byHand.output(t, "PointHere") != "d111111abcdef8.cloudfront.net" {
		t.Errorf("%d records, outputs %v", n, byHand.Outputs)
	}
	opts.zone = "Z0123456789ABC"
	made := synth(t, opts, tab)
	for _, kind := range []string{"A", "AAAA"} {
		p := made.one(t, "Record"+kind)
		if p["Type"] != kind || p["Name"] != "m.example.org." || p["HostedZoneId"] != opts.zone ||
			at(t, p, "AliasTarget", "DNSName") != "d111111abcdef8.cloudfront.net" {
			t.Errorf("%s: %v", kind, p)
		}
	}
	if _, ok := made.Outputs["PointHere"]; ok {
		t.Error("the administrator is told to make a record that there is")
	}
	config := at(t, made.one(t, "Distribution"), "DistributionConfig")
	if at(t, config, "Aliases", 0) != opts.domain || at(t, config, "ViewerCertificate", "AcmCertificateArn") != opts.certificate {
		t.Errorf("the distribution does not answer for the domain: %v", config)
	}
}

func TestWorkersAreStartedByWhatTheyDeclare(t *testing.T) {
	tm, _ := fullStack(t)
	changes := tm.one(t, "DispatchRoomsTrigger")
	if !strings.Contains(changes["EventSourceArn"].(string), "table/virga-example-organis_rooms/stream/") || changes["BisectBatchOnFunctionError"] != true ||
		changes["MaximumRetryAttempts"] != 10.0 || !strings.HasSuffix(at(t, changes, "DestinationConfig", "OnFailure", "Destination").(string), "_work_dead") {
		t.Errorf("changes: %v", changes)
	}
	inbound := tm.one(t, "ReceiveEventsTrigger")
	if !strings.HasSuffix(inbound["EventSourceArn"].(string), "_inbound.fifo") || at(t, inbound, "FunctionResponseTypes", 0) != "ReportBatchItemFailures" {
		t.Errorf("inbound: %v", inbound)
	}
	if got := tm.one(t, "SweepTrigger")["ScheduleExpression"]; got != "rate(5 minutes)" {
		t.Errorf("sweep runs at %v", got)
	}
	if got := tm.one(t, "TickTrigger")["ScheduleExpression"]; got != "rate(1 minute)" {
		t.Errorf("tick runs at %v", got)
	}
	for _, q := range queue.Queues {
		p := tm.one(t, logical(q.Name)+"Queue")
		dead := tm.one(t, logical(q.Name)+"DeadQueue")
		if (p["FifoQueue"] == true) != q.FIFO || (dead["FifoQueue"] == true) != q.FIFO {
			t.Errorf("%s and its dead letters differ in order: %v, %v", q.Name, p, dead)
		}
		if !strings.Contains(at(t, p, "RedrivePolicy", "deadLetterTargetArn").(string), "_"+q.Name+"_dead") {
			t.Errorf("%s: %v", q.Name, p)
		}
		if p["VisibilityTimeout"].(float64) < 6*route.Background.Timeout().Seconds() {
			t.Errorf("%s delivers a message again while its function is at work", q.Name)
		}
	}
	for _, name := range []string{"receive_events", "do_work"} {
		if tm.Resources[functionID(name)].Properties["RecursiveLoop"] != "Allow" {
			t.Errorf("%s is stopped after 16 rounds", name)
		}
	}
}

func TestGrantsBecomeStatements(t *testing.T) {
	uses := grant.Of(grant.ReadTable("rooms", "users"), grant.WriteTable("rooms"), grant.SendTo("work"), grant.ReadBlobs("local/"))
	tm := synth(t, testOptions("virga-a"), table{routes: []route.Route{{
		Name: "getMedia", Pattern: "GET /_matrix/client/v1/media/x", Auth: route.Public, Handler: standInHandler, Uses: uses,
	}}, workers: standInWorkers()})
	role := tm.Resources["getMedia"].Properties["Role"].(map[string]any)["Fn::GetAtt"].([]any)[0].(string)
	if role != "RoleReadLocalBlobsRoomsUsersWriteRoomsSendWork" {
		t.Errorf("the role is called %s", role)
	}
	got := map[string]string{}
	for _, st := range at(t, tm.one(t, role), "Policies", 0, "PolicyDocument", "Statement").([]any) {
		var resources []string
		for _, r := range at(t, st, "Resource").([]any) {
			resources = append(resources, r.(string)[strings.LastIndex(r.(string), ":")+1:])
		}
		for _, a := range at(t, st, "Action").([]any) {
			got[a.(string)] = strings.Join(resources, " ")
		}
	}
	both := "table/virga-a_rooms table/virga-a_users"
	want := map[string]string{
		"dynamodb:GetItem": both, "dynamodb:BatchGetItem": both, "dynamodb:Query": both,
		"dynamodb:PutItem": "table/virga-a_rooms", "dynamodb:UpdateItem": "table/virga-a_rooms",
		"dynamodb:DeleteItem": "table/virga-a_rooms", "dynamodb:ConditionCheckItem": "table/virga-a_rooms",
		"sqs:SendMessage": "virga-a_work", "s3:GetObject": "virga-a-mediabucket-1a2b3c4d5e6f/local/*",
		"s3:ListBucket":        "virga-a-mediabucket-1a2b3c4d5e6f",
		"logs:CreateLogStream": "*", "logs:PutLogEvents": "*",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	env := at(t, tm.one(t, "getMedia"), "Environment", "Variables").(map[string]any)
	if env["VIRGA_STACK"] != "virga-a" || env["VIRGA_BUCKET"] == nil || env["VIRGA_QUEUE_WORK"] == nil || env["VIRGA_QUEUE_INBOUND"] != nil {
		t.Errorf("environment: %v", env)
	}
	if got := at(t, tm.one(t, "unknown"), "Environment", "Variables", "VIRGA_BUCKET"); got != nil {
		t.Errorf("unknown is told of %v", got)
	}
}

func TestGroupsShareAFunction(t *testing.T) {
	opts := testOptions("virga-a")
	opts.layout = "group"
	small := table{routes: fullTable(t).routes, workers: standInWorkers()}
	tm := synth(t, opts, small)
	if n := len(tm.All("AWS::Lambda::Function")); n > 70 {
		t.Errorf("%d functions in groups", n)
	}
	for id, f := range tm.All("AWS::Lambda::Function") {
		if strings.HasPrefix(id, "group") && f.Properties["Handler"] != handlerAll {
			t.Errorf("%s has the handler %v", id, f.Properties["Handler"])
		}
	}
	if n := gatewayOf(t, tm, "Api").count(); n < 200 {
		t.Errorf("%d routes", n)
	}
	t.Logf("in groups: %s", census(tm))
}

// Tests run the program of this machine; the stack is otherwise the same.
func TestArchitecturesDifferInNothingElse(t *testing.T) {
	tab := table{routes: api.Routes(), workers: api.Workers()}
	opts := testOptions("virga-a")
	opts.arch = "host"
	host, arm := synth(t, opts, tab), realStack(t)
	for id, r := range arm.Resources {
		other := maps.Clone(host.Resources[id].Properties)
		mine := maps.Clone(r.Properties)
		if r.Type == "AWS::Lambda::Function" {
			if at(t, mine, "Architectures", 0) != "arm64" || at(t, other, "Architectures", 0) != lambdaArch("host") {
				t.Errorf("%s: %v and %v", id, mine["Architectures"], other["Architectures"])
			}
			delete(mine, "Architectures")
			delete(other, "Architectures")
		}
		if !reflect.DeepEqual(mine, other) {
			t.Errorf("%s differs", id)
		}
	}
	if len(arm.Resources) != len(host.Resources) {
		t.Errorf("%d and %d resources", len(arm.Resources), len(host.Resources))
	}
}
