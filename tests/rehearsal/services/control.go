package services

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/iam"
)

// SetStatus sets what CloudFormation tells of the stack, such as
// DELETE_IN_PROGRESS. Until then it is CREATE_COMPLETE.
func (s *Services) SetStatus(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// cloudFormation tells the status of the stack.
type cloudFormation struct{ s *Services }

// call implements api.
func (c cloudFormation) call(_ *http.Request, body []byte) (operation string, needs []iam.Request) {
	in, err := url.ParseQuery(string(body))
	operation, stack := in.Get("Action"), in.Get("StackName")
	if err != nil || operation != "DescribeStacks" || !strings.HasPrefix(stack, "arn:") {
		return operation, []iam.Request{{Action: "cloudformation:" + operation, Resource: "a request that is not known here"}}
	}
	return operation, []iam.Request{{Action: "cloudformation:DescribeStacks", Resource: stack}}
}

// serve implements api.
func (c cloudFormation) serve(w http.ResponseWriter, _ *http.Request, _ []byte, _ principal) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks><member>`+
		`<StackName>%s</StackName><StackStatus>%s</StackStatus></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`, c.s.template.Stack, c.s.status)
}

// fail implements api.
func (c cloudFormation) fail(w http.ResponseWriter, _ *http.Request, why failure, message string) {
	refuse(w, why, message)
}

// lambdaAPI lets functions invoke functions, without waiting.
type lambdaAPI struct {
	s      *Services
	invoke func(function string, event []byte)
}

// call implements api.
func (l lambdaAPI) call(r *http.Request, _ []byte) (operation string, needs []iam.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/2015-03-31/functions/")
	name, isInvoke := strings.CutSuffix(name, "/invocations")
	if !ok || !isInvoke || l.invoke == nil || r.Method != http.MethodPost || r.Header.Get("X-Amz-Invocation-Type") != "Event" {
		return "Invoke", []iam.Request{{Action: "lambda:InvokeFunction", Resource: "a request that is not known here"}}
	}
	return "Invoke", []iam.Request{{Action: "lambda:InvokeFunction", Resource: l.s.Function(name)}}
}

// serve implements api.
func (l lambdaAPI) serve(w http.ResponseWriter, r *http.Request, body []byte, _ principal) {
	w.WriteHeader(http.StatusAccepted)
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/2015-03-31/functions/"), "/invocations")
	go l.invoke(name, body)
}

// fail implements api.
func (l lambdaAPI) fail(w http.ResponseWriter, _ *http.Request, why failure, message string) {
	refuse(w, why, message)
}

// refuse answers as services do whose errors nobody looks into.
func refuse(w http.ResponseWriter, why failure, message string) {
	status := http.StatusForbidden
	if why == throttled {
		status = http.StatusTooManyRequests
	}
	http.Error(w, message, status)
}
