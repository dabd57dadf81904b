package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/grant"
)

// stack is one homeserver: everything that CloudFormation makes for one server
// name, and deletes again.
//
// Resources are CDK's plain L1 ones. The comfortable ones would add a permission
// for each route and a policy for each role, three times what a stack may hold;
// and the plain ones keep their names, so that a diff reads like the route list.
type stack struct {
	awscdk.Stack
	opts options

	tables     map[string]awsdynamodb.CfnTable
	queues     map[string]awssqs.CfnQueue
	deadQueues map[string]awssqs.CfnQueue
	bucket     awss3.CfnBucket
	logs       map[string]awslogs.CfnLogGroup // by section
	apis       map[string]awsapigatewayv2.CfnApi
	custom     custom
}

// newStack adds the stack of a server to the app. The folder code holds the
// bootstrap program.
func newStack(app awscdk.App, opts options, t table, code string) (*stack, error) {
	functions, err := plan(t, opts.layout)
	if err != nil {
		return nil, err
	}
	if opts.sync != "sqs" {
		withoutWaits(functions)
	}
	for _, f := range functions {
		if n := len(opts.stack) + 1 + len(f.name); n > 64 {
			return nil, fmt.Errorf("the function %s_%s would have a name of %d characters, and Lambda allows 64: choose a shorter -c stack", opts.stack, f.name, n)
		}
	}
	tags := map[string]*string{}
	for key, value := range opts.tags() {
		tags[key] = jsii.String(value)
	}
	s := &stack{
		Stack: awscdk.NewStack(app, jsii.String(opts.stack), &awscdk.StackProps{
			Description:                 jsii.String("Virga, the Matrix homeserver of " + opts.serverName),
			SuppressTemplateIndentation: jsii.Bool(true), // a template may have 1 MB
			TerminationProtection:       jsii.Bool(opts.stage == "prod"),
			Tags:                        &tags,
		}),
		opts:       opts,
		tables:     map[string]awsdynamodb.CfnTable{},
		queues:     map[string]awssqs.CfnQueue{},
		deadQueues: map[string]awssqs.CfnQueue{},
		logs:       map[string]awslogs.CfnLogGroup{},
		apis:       map[string]awsapigatewayv2.CfnApi{},
	}
	for key, value := range tags {
		awscdk.Tags_Of(s.Stack).Add(jsii.String(key), value, nil)
	}
	s.inSection(s.Stack, "shared")
	s.addTables()
	s.addBucket()
	s.addQueues()
	s.addLogs(functions)
	roles, program := s.addRoles(functions), s.addProgram(code)
	if err := s.addCustomResources(functions, roles, program); err != nil {
		return nil, err
	}
	var before, after []*function
	for _, f := range functions {
		if f.streams() {
			before = append(before, f)
		} else {
			after = append(after, f)
		}
	}
	made := s.addFunctions(before, roles, program, nil)
	door, err := s.addDoor(functions, made)
	if err != nil {
		return nil, err
	}
	maps.Copy(made, s.addFunctions(after, roles, program, door))
	if err := s.addTriggers(functions, made); err != nil {
		return nil, err
	}
	s.addAlarms(functions)
	s.addBudget()
	s.addOutputs(door)
	return s, nil
}

func (s *stack) prod() bool { return s.opts.stage == "prod" }

// named returns the physical name of a thing of this stack. The name of a stack
// has no underscore, so "a_…" is never a thing of the stack a-test, and what is
// granted on a_* is granted on this stack alone.
func (s *stack) named(name string) *string { return jsii.String(s.opts.stack + "_" + name) }

// logical turns a name into a logical id: "inbound_dead" is InboundDead.
func logical(name string) string {
	var id strings.Builder
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		id.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return id.String()
}

// tags say in bills and lists whose a thing is. A tag cannot hold the brackets of
// an IPv6 address.
func (o options) tags() map[string]string {
	return map[string]string{"server": strings.NewReplacer("[", "", "]", "").Replace(o.serverName), "stage": o.stage}
}

// inSection tags a resource with the part of the server that it is for, instead
// of the section of what is around it.
func (s *stack) inSection(of constructs.IConstruct, section string) {
	awscdk.Tags_Of(of).Add(jsii.String("section"), jsii.String(section), nil)
}

// environment is what a function is told: the words of shared/config, and those
// of shared/aws for what it may touch. Tables are found by the name of the stack.
// A function that is there before the door is not told of it: the one behind the
// custom resources, and those of routes that stream, which have no use for it.
func (s *stack) environment(f *function, door *door) *map[string]*string {
	env := map[string]*string{"VIRGA_STACK": jsii.String(s.opts.stack)}
	for name, value := range s.opts.settings {
		env[name] = jsii.String(value)
	}
	switch {
	case env["VIRGA_PUBLIC_BASEURL"] != nil:
	case s.opts.domain != "":
		env["VIRGA_PUBLIC_BASEURL"] = jsii.String("https://" + s.opts.domain)
	case door != nil:
		env["VIRGA_PUBLIC_BASEURL"] = door.url
	}
	if f.worker == nil {
		env["VIRGA_DOOR_SECRET"] = s.custom.accepted
	}
	for _, g := range f.uses {
		switch g.Kind {
		case grant.Blob:
			env["VIRGA_BUCKET"] = s.bucket.Ref()
		case grant.Queue:
			env["VIRGA_QUEUE_"+strings.ToUpper(g.Name)] = s.queues[g.Name].Ref() // its URL
		case grant.Wait:
			env["VIRGA_WAIT_QUEUES"] = s.waitURL()
		}
	}
	return &env
}

// addOutputs prints what to do next.
func (s *stack) addOutputs(door *door) {
	output := func(id, about string, value *string) {
		awscdk.NewCfnOutput(s.Stack, jsii.String(id), &awscdk.CfnOutputProps{Value: value, Description: jsii.String(about)})
	}
	output("URL", "where clients reach the server", door.url)
	output("TryIt", "should answer a list of versions", jsii.String("curl "+*door.url+"/_matrix/client/versions"))
	output("FirstAdministrator", "makes the first account, and asks for its password", jsii.String("go run ./infra/aws/admin -stack "+s.opts.stack+" create-user -admin NAME"))
	if s.opts.domain != "" && s.opts.zone == "" {
		output("PointHere", "make a record CNAME or ALIAS of "+s.opts.domain+" to this host", door.distribution.AttrDomainName())
	}
	output("WellKnown", "serve this at https://"+s.opts.serverName+"/.well-known/matrix/server, unless that host is this server itself",
		jsii.String(`{"m.server":"`+*door.host+`:443"}`))
	output("MediaBucketName", "holds the media", s.bucket.Ref())
	if !s.prod() {
		output("Caution", "how long data lives", jsii.String("stage dev: all data goes with the stack; deploy with -c stage=prod to keep it"))
	}
}
