// Package rehearsal runs the deployed shape of a stack on this machine. It reads
// what the CDK app writes, and nothing else of infra/aws: the way of a request
// leads through CloudFront with the front door's own program, the HTTP API with
// its faults or a function URL, to processes of the program that the stack would
// upload, with the environment, memory and time that the template gives them.
//
//	s := rehearsal.Deploy(t, rehearsal.Options{Context: map[string]string{"registration": "open"}})
//	http.Get(s.URL + "/_matrix/client/versions")
//
// What AWS may do, it does: events and messages come twice, processes freeze
// between events, start when there are too few and end when there are too many.
package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/cloudfront"
	"github.com/virga-im/virga/tests/rehearsal/functionurl"
	"github.com/virga-im/virga/tests/rehearsal/httpapi"
	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/services"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// ServerName is that of a stack unless its context says otherwise.
const ServerName = "localhost"

// maxAlive is how many processes there are at once unless options say otherwise.
const maxAlive = 20

// Options say which stack is deployed, and what happens to it.
type Options struct {
	// Context is what follows -c, beside serverName and arch.
	Context map[string]string
	// MaxAlive bounds the processes that there are at once; zero means 20.
	MaxAlive int
	// Once delivers events and messages once, for those who count.
	Once bool
	// Settle is how long a queue that was just made cannot be used.
	Settle time.Duration
	// Fault decides what goes wrong with the nth invocation of a function. Fine is
	// taken for nil.
	Fault func(function string, n int) lambda.Fault
	// Expected are regular expressions of what is no failure of the test when a
	// function logs it, or AWS complains of it.
	Expected []string
}

// Stack is a stack that runs here.
type Stack struct {
	// Door is what answers there.
	Door *cloudfront.Distribution
	// URL is where clients reach it, without a slash at its end.
	URL string
	// PublicURL is where clients reach it on AWS.
	PublicURL string
	// Template is what it was read from.
	Template *template.Template
	// Services are its tables, queues and bucket, and decide for its roles.
	Services *services.Services
	// Lambda runs its functions.
	Lambda *lambda.Lambda

	t        testing.TB
	o        Options
	expected []*regexp.Regexp
	sources  sources
	apis     map[string]*httpapi.API // by logical id
	origins  map[string]http.Handler // by host
	programs []*cloudfront.Program
	deployed time.Duration // how long that took

	mu        sync.Mutex
	functions map[string]*lambda.Function // by name
	custom    map[string]map[string]any   // attributes of custom resources
	requests  map[string]int              // of gateways and function URLs
	log       []string
	told      []Told
	over      bool
}

// Deploy starts a stack for the length of the test. It fails the test when a
// function logs an error, or AWS would complain, unless that was expected.
func Deploy(t testing.TB, o Options) *Stack {
	t.Helper()
	words := map[string]string{"serverName": ServerName, "arch": "host"}
	maps.Copy(words, o.Context)
	tm := Read(t, words)
	began := time.Now()
	s := &Stack{
		t: t, o: o, Template: tm, functions: map[string]*lambda.Function{}, apis: map[string]*httpapi.API{},
		custom: map[string]map[string]any{}, requests: map[string]int{},
	}
	for _, e := range o.Expected {
		s.expected = append(s.expected, regexp.MustCompile(e))
	}
	s.Template.Value = func(id, attribute string) (any, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		v, ok := s.custom[id][attribute]
		return v, ok
	}
	s.Services = services.Start(t, services.Options{Template: s.Template, OnWrite: s.changed, Settle: o.Settle, Invoke: func(function string, event []byte) {
		_, _ = s.Lambda.Invoke(context.Background(), function, event) // nobody waits for the answer
	}})
	if s.o.MaxAlive == 0 {
		s.o.MaxAlive = maxAlive
	}
	s.Lambda = lambda.New(lambda.Options{
		Region: template.Region, Endpoint: s.Services.Endpoint, Started: s.started, MaxAlive: s.o.MaxAlive,
		Find: s.function, Log: s.logged, Complain: s.complain, Fault: o.Fault,
	})
	t.Cleanup(s.close)
	for _, start := range []func() error{s.startCustomResources, s.startSources, s.startDoor} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	s.deployed = time.Since(began)
	return s
}

func (s *Stack) close() {
	s.sources.stop()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.Lambda.Close()
	shop.spent(s.deployed, lambda.Total(s.Lambda.Counts()))
	for _, p := range s.programs {
		p.Close()
	}
	if s.t.Failed() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Logf("the last lines of the functions:\n%s", strings.Join(s.log[max(0, len(s.log)-60):], "\n"))
	}
}

// Base is URL.
func (s *Stack) Base() string { return s.URL }

// Restart ends all processes, and kills them if kill is set: what a function keeps
// in memory is gone.
func (s *Stack) Restart(kill bool) {
	if kill {
		for name := range s.Lambda.Counts() {
			s.Lambda.KillRunning(name)
		}
	}
	s.Lambda.Forget()
}

// Functions returns what each function took until now, by its name.
func (s *Stack) Functions() map[string]lambda.Counts { return s.Lambda.Counts() }

// Requests returns how many requests each gateway, and each function URL, has
// answered, by its logical id; and each integration of a gateway, by id/name.
func (s *Stack) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

func (s *Stack) requested(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[id]++
}

// complain fails the test for what an administrator would find in AWS's logs.
func (s *Stack) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "AWS: "+text)
	if !s.over && !s.isExpected(text) {
		s.t.Errorf("AWS: %s", text)
	}
}

func (s *Stack) isExpected(text string) bool {
	for _, e := range s.expected {
		if e.MatchString(text) {
			return true
		}
	}
	return false
}

// logged reads a line of a function. A line that is no JSON is not one of ours:
// a panic, or the last words of a program.
func (s *Stack) logged(function string, line []byte) {
	var fields struct{ Timestamp, Level, Msg string }
	bad := ""
	if err := json.Unmarshal(line, &fields); err != nil {
		bad = "no JSON"
	} else if _, err := time.Parse(time.RFC3339, fields.Timestamp); err != nil {
		bad = "no timestamp"
	} else if fields.Level == "ERROR" {
		bad = "an error"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, function+": "+string(line))
	if bad != "" && !s.over && !s.isExpected(string(line)) {
		s.t.Errorf("%s logs %s: %s", function, bad, line)
	}
}

type functionProperties struct {
	FunctionName, Handler, Role string
	Code                        struct{ S3Bucket, S3Key string }
	Environment                 struct{ Variables map[string]string }
	MemorySize, Timeout         int
	LoggingConfig               struct{ LogGroup string }
}

// function reads a function of the template, when it is first used: by then the
// custom resources are there whose attributes its environment may hold.
func (s *Stack) function(name string) (*lambda.Function, error) {
	s.mu.Lock()
	f := s.functions[name]
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	id, ok := s.Template.LogicalID("AWS::Lambda::Function", name)
	if !ok {
		return nil, fmt.Errorf("the stack has no function %s", name)
	}
	var p functionProperties
	if err := s.Template.Decode(id, &p); err != nil {
		return nil, err
	}
	code, err := s.Template.Asset(p.Code.S3Key)
	if err != nil {
		return nil, err
	}
	arn, err := s.Template.Attribute(id, "Arn")
	if err != nil {
		return nil, err
	}
	f = &lambda.Function{
		Name: name, ARN: arn.(string), Handler: p.Handler, Code: code, Env: p.Environment.Variables,
		MemoryMB: p.MemorySize, Timeout: time.Duration(p.Timeout) * time.Second, LogGroup: p.LoggingConfig.LogGroup,
		Role: p.Role,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.functions[name] == nil {
		s.functions[name] = f
	}
	return s.functions[name], nil
}

// startDoor builds what is between a client and the functions.
func (s *Stack) startDoor() error {
	tm := s.Template
	o := cloudfront.Options{
		Functions: map[string]*cloudfront.Program{}, Policies: map[string]cloudfront.CachePolicy{},
		Origins: map[string]http.Handler{}, Complain: s.complain,
	}
	for _, id := range tm.IDs("AWS::CloudFront::Function") {
		var p struct{ FunctionCode string }
		if err := tm.Decode(id, &p); err != nil {
			return err
		}
		arn, err := tm.Attribute(id, "FunctionMetadata.FunctionARN")
		if err != nil {
			return err
		}
		program, err := cloudfront.Start(p.FunctionCode)
		if err != nil {
			return err
		}
		s.programs = append(s.programs, program)
		o.Functions[arn.(string)] = program
	}
	for _, id := range tm.IDs("AWS::CloudFront::CachePolicy") {
		var p struct{ CachePolicyConfig cloudfront.CachePolicy }
		if err := tm.Decode(id, &p); err != nil {
			return err
		}
		o.Policies[tm.Physical(id)] = p.CachePolicyConfig
	}
	for _, id := range tm.IDs("AWS::ApiGatewayV2::Api") {
		if err := s.addAPI(id, o.Origins); err != nil {
			return err
		}
	}
	for _, id := range tm.IDs("AWS::Lambda::Url") {
		if err := s.addURL(id, o.Origins); err != nil {
			return err
		}
	}
	ids := tm.IDs("AWS::CloudFront::Distribution")
	if len(ids) != 1 {
		return fmt.Errorf("the stack has the distributions %v, and one is wanted", ids)
	}
	domain, err := tm.Attribute(ids[0], "DomainName")
	if err != nil {
		return err
	}
	o.Domain = domain.(string)
	var p struct{ DistributionConfig cloudfront.Config }
	if err := tm.Decode(ids[0], &p); err != nil {
		return err
	}
	s.origins = o.Origins
	if s.Door, err = cloudfront.New(p.DistributionConfig, o); err != nil {
		return err
	}
	front := httptest.NewServer(s.Door)
	s.t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	s.URL, s.PublicURL = front.URL, "https://"+o.Domain
	return nil
}

// addAPI adds a gateway as an origin.
func (s *Stack) addAPI(id string, origins map[string]http.Handler) error {
	p, err := s.Template.Properties(id)
	if err != nil {
		return err
	}
	o := httpapi.Options{
		ID: s.Template.Physical(id), Account: template.Account, Region: template.Region,
		Invoke: s.invokedBy, Call: s.call, Complain: s.complain,
		Served: func(served httpapi.Served) {
			s.requested(id)
			if served.Integration != "" {
				s.requested(id + "/" + served.Integration)
			}
		},
	}
	api, err := httpapi.New(p["Body"], o)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	s.apis[id] = api
	origins[o.ID+".execute-api."+template.Region+".amazonaws.com"] = api
	return nil
}

// addURL adds a function URL as an origin.
func (s *Stack) addURL(id string, origins map[string]http.Handler) error {
	var p struct{ AuthType, InvokeMode, TargetFunctionArn string }
	if err := s.Template.Decode(id, &p); err != nil {
		return err
	}
	if p.AuthType != "NONE" {
		return fmt.Errorf("%s: the authentication %s is not known here", id, p.AuthType)
	}
	name := template.Name(p.TargetFunctionArn)
	if err := s.permitted(name, "*", "lambda:InvokeFunctionUrl", ""); err != nil {
		return err
	}
	where, err := s.Template.Attribute(id, "FunctionUrl")
	if err != nil {
		return err
	}
	host := strings.TrimSuffix(strings.TrimPrefix(where.(string), "https://"), "/")
	u := &functionurl.URL{
		Function: name, Domain: host, Account: template.Account, Streams: p.InvokeMode == "RESPONSE_STREAM",
		Invoke: s.Lambda.Invoke, Stream: s.Lambda.Stream, Complain: s.complain,
	}
	origins[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.requested(id)
		u.ServeHTTP(w, r)
	})
	return nil
}

// permitted returns an error unless the function's own policy lets a principal
// do something to it.
func (s *Stack) permitted(function, principal, action, source string) error {
	for _, id := range s.Template.IDs("AWS::Lambda::Permission") {
		var p struct{ Action, FunctionName, Principal, SourceArn string }
		if err := s.Template.Decode(id, &p); err != nil {
			return err
		}
		if template.Name(p.FunctionName) == function && p.Principal == principal && p.Action == action && p.SourceArn == source {
			return nil
		}
	}
	return fmt.Errorf("no AWS::Lambda::Permission lets %s %s of %s %s", principal, action, function, source)
}

// Invoke hands an event to a function of the stack, whose name is given without
// that of the stack.
func (s *Stack) Invoke(ctx context.Context, name string, event any) ([]byte, error) {
	text, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	return s.Lambda.Invoke(ctx, s.Template.Stack+"_"+name, text)
}
