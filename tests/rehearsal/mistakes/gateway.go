package mistakes

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// subtypes are the first-class integrations of HTTP APIs, with the parameters
// that they require.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-aws-services-reference.html
var subtypes = map[string][]string{
	"SQS-SendMessage": {"QueueUrl", "MessageBody"}, "SQS-ReceiveMessage": {"QueueUrl"},
	"SQS-DeleteMessage": {"QueueUrl", "ReceiptHandle"}, "SQS-PurgeQueue": {"QueueUrl"},
	"EventBridge-PutEvents": {"Detail", "DetailType", "Source"}, "Kinesis-PutRecord": {"StreamName", "Data", "PartitionKey"},
	"StepFunctions-StartExecution": {"StateMachineArn"}, "StepFunctions-StartSyncExecution": {"StateMachineArn"},
	"StepFunctions-StopExecution": {"ExecutionArn"}, "AppConfig-GetConfiguration": {"Application", "Environment", "Configuration", "ClientId"},
}

var (
	invocation = regexp.MustCompile(`^arn:[a-z-]+:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/(arn:[^/]+)/invocations$`)
	// mapped are the keys of response parameters.
	mapped = regexp.MustCompile(`^(overwrite|append|remove):header\.[A-Za-z0-9-]+$|^overwrite:statuscode$`)
	status = regexp.MustCompile(`^[2-5]\d\d$`)
)

const integrationKey = "x-amazon-apigateway-integration"

// gateways checks the definitions of HTTP APIs, which the CDK does not read.
func (f *finder) gateways() {
	stages := map[string]bool{}
	each(f, "AWS::ApiGatewayV2::Stage", func(_ string, p struct {
		ApiId      string
		AutoDeploy bool
	}) {
		stages[p.ApiId] = stages[p.ApiId] || p.AutoDeploy
	})
	each(f, "AWS::ApiGatewayV2::Api", func(id string, p struct{ Body map[string]any }) {
		f.check(stages[f.Physical(id)], "%s has no stage that deploys by itself", id)
		components, _ := p.Body["components"].(map[string]any)
		shared, _ := components[integrationKey+"s"].(map[string]any)
		used := map[string]bool{}
		paths, _ := p.Body["paths"].(map[string]any)
		routes := 0
		for _, path := range slices.Sorted(maps.Keys(paths)) {
			operations, _ := paths[path].(map[string]any)
			for method, operation := range operations {
				routes++
				operation, _ := operation.(map[string]any)
				integration, _ := operation[integrationKey].(map[string]any)
				ref, isRef := integration["$ref"].(string)
				if !isRef {
					f.integration(id+" "+method+" "+path, integration)
					continue
				}
				name := strings.TrimPrefix(ref, "#/components/"+integrationKey+"s/")
				f.check(shared[name] != nil, "%s %s %s: the integration %s is not there", id, method, path, ref)
				used[name] = true
			}
		}
		f.check(routes <= 300, "%s has %d routes, and AWS allows 300", id, routes)
		f.check(len(shared) <= 300, "%s has %d integrations, and AWS allows 300", id, len(shared))
		for name, integration := range shared {
			f.check(used[name], "%s: no route uses the integration %s", id, name)
			integration, _ := integration.(map[string]any)
			f.integration(id+" "+name, integration)
		}
	})
}

func (f *finder) integration(what string, in map[string]any) {
	text := func(key string) string { s, _ := in[key].(string); return s }
	if timeout, ok := in["timeoutInMillis"].(float64); ok {
		f.check(timeout >= 50 && timeout <= 30_000, "%s: %v ms, and an HTTP API allows 50 to 30000", what, timeout)
	}
	f.check(strings.EqualFold(text("type"), "aws_proxy"), "%s: an integration of the type %q", what, text("type"))
	f.trusts(what, text("credentials"), "apigateway.amazonaws.com")
	if subtype := text("integrationSubtype"); subtype != "" {
		f.firstClass(what, subtype, in)
		return
	}
	m := invocation.FindStringSubmatch(text("uri"))
	if m == nil {
		f.add("%s: it invokes %q", what, text("uri"))
		return
	}
	_, ok := f.arns("AWS::Lambda::Function", "Arn")[m[1]]
	f.check(ok, "%s: the function %s is not in the stack", what, m[1])
	f.check(text("payloadFormatVersion") == "2.0", "%s: events of the version %q", what, text("payloadFormatVersion"))
	f.check(strings.EqualFold(text("httpMethod"), "POST"), "%s: it invokes by %s", what, text("httpMethod"))
	f.may(what, text("credentials"), "lambda:InvokeFunction", m[1])
}

func (f *finder) firstClass(what, subtype string, in map[string]any) {
	required, ok := subtypes[subtype]
	f.check(ok, "%s: there is no integration %s", what, subtype)
	f.check(in["payloadFormatVersion"] == "1.0", "%s: %s takes payloads of the version 1.0 alone", what, subtype)
	parameters, _ := in["requestParameters"].(map[string]any)
	for _, name := range required {
		f.check(parameters[name] != nil, "%s: %s needs %s", what, subtype, name)
	}
	responses, _ := in["responseParameters"].(map[string]any)
	for code, changes := range responses {
		f.check(status.MatchString(code), "%s: it changes the status %q", what, code)
		changes, _ := changes.(map[string]any)
		for key := range changes {
			f.check(mapped.MatchString(key), "%s: it changes %q", what, key)
		}
	}
}
