package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfront"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/grant"
)

// Requests that wait are sent around by redirects (see shared/route/hold.go): the
// gateway itself receives from the queue where a client waits, and sends it on
// whatever comes of that, so that nothing is paid by the second. Where there are
// two queues, and who waits at which, is decided in shared/aws/hold.go.
//
// An integration cannot put the URL of a queue together, so the front door does,
// into this header, from the place and the letter in the path. A stranger who finds the gateway's own address may write it;
// the role of the integration reaches the wait queues of this stack and no others.
const queueHeader = "X-Virga-Queue"

// waitQueue is the prefix of the names of wait queues.
const waitQueue = "wait_"

// holds reports whether the stack has queues where requests wait.
func (s *stack) holds(functions []*function) bool {
	return s.opts.sync == "sqs" && slices.ContainsFunc(functions, func(f *function) bool {
		return f.uses.Allows(grant.Grant{Kind: grant.Wait, Name: grant.Waits, Action: grant.Hold})
	})
}

// withoutWaits drops the grants that are about queues where requests wait.
func withoutWaits(functions []*function) {
	for _, f := range functions {
		f.uses = slices.DeleteFunc(slices.Clone(f.uses), func(g grant.Grant) bool { return g.Kind == grant.Wait })
	}
}

// waitURL is what the URLs of wait queues begin with, and waitARN is all of them.
// The queues are made when they are needed, by who needs them.
func (s *stack) waitURL() *string {
	return awscdk.Fn_Sub(jsii.String("https://sqs.${AWS::Region}.${AWS::URLSuffix}/${AWS::AccountId}/"+*s.named(waitQueue)), nil)
}

func (s *stack) waitARN() *string {
	return awscdk.Fn_Sub(jsii.String("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:"+*s.named(waitQueue + "*")), nil)
}

// addWaits adds the routes of waits to the definition of a gateway. Every status
// that SQS may answer leads on to the route that the client came from: one that was
// sent away by mistake is answered all the same, since that request looks.
func addWaits(body map[string]any, credentials any) {
	onward := map[string]any{}
	for _, status := range []string{"200", "400", "403", "404", "500", "503"} {
		onward[status] = map[string]any{"overwrite:statuscode": "307", "overwrite:header.location": "done", "overwrite:header.cache-control": "private, no-store"}
	}
	const id = "wait"
	body["components"].(map[string]any)["x-amazon-apigateway-integrations"].(map[string]any)[id] = map[string]any{
		"type": "AWS_PROXY", "integrationSubtype": "SQS-ReceiveMessage", "credentials": credentials,
		"payloadFormatVersion": "1.0", "connectionType": "INTERNET", "timeoutInMillis": 30000,
		"requestParameters": map[string]any{
			"QueueUrl":            "$request.header." + strings.ToLower(queueHeader),
			"WaitTimeSeconds":     fmt.Sprint(places.Hold.Seconds()),
			"MaxNumberOfMessages": "10",
			// A wake is for one receive: it must be gone before it could come again.
			"VisibilityTimeout": fmt.Sprint(2 * places.Retention.Seconds()),
		},
		"responseParameters": onward,
	}
	paths := body["paths"].(map[string]map[string]any)
	for _, queue := range places.Queues {
		paths[waitPath(queue)] = map[string]any{"x-amazon-apigateway-any-method": map[string]any{
			"responses":                       map[string]any{"307": map[string]any{"description": "the wait is over"}},
			"parameters":                      pathParameters("route", "ticket", "place"),
			"x-amazon-apigateway-integration": map[string]any{"$ref": "#/components/x-amazon-apigateway-integrations/" + id},
		}}
	}
}

func waitPath(queue rune) string { return "/hold/{route}/{ticket}/{place}/" + string(queue) }

func pathParameters(names ...string) (all []any) {
	for _, name := range names {
		all = append(all, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	return all
}

// waitThrottle bounds what strangers can make the gateway wait for: without it
// they could use up what the account's gateways may take at once. It is for 10,000
// clients that wait.
func waitThrottle() map[string]any {
	settings := map[string]any{}
	for _, queue := range places.Queues {
		settings["ANY "+waitPath(queue)] = map[string]any{"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 2000}
	}
	return settings
}

// simpleCORS is AWS's own policy, which lets any page read an answer. The gateway
// cannot set that header on the redirects of a wait, and a browser ends a request
// at a redirect without it.
const simpleCORS = "60669652-455b-4ae9-85a4-c4c02393f86c"

// waitBehaviour is how the distribution treats waits.
func waitBehaviour(common awscloudfront.CfnDistribution_CacheBehaviorProperty) *awscloudfront.CfnDistribution_CacheBehaviorProperty {
	common.PathPattern, common.TargetOriginId = jsii.String("/hold/*"), jsii.String("Api")
	common.ResponseHeadersPolicyId = jsii.String(simpleCORS)
	return &common
}
