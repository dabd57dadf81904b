package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/tests/rehearsal/httpapi"
	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/services"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// What acts as the roles of a stack.
const (
	lambdaService  = "lambda.amazonaws.com"
	gatewayService = "apigateway.amazonaws.com"
)

// changed takes a write to a table with a stream.
func (s *Stack) changed(c services.Change) {
	name := "MODIFY"
	if c.Removed {
		name = "REMOVE"
	}
	if st := s.sources.streams[c.Stream]; st != nil {
		st.add(change{name: name, keys: c.Keys})
	}
}

// invokedBy invokes a function as a gateway does, with a role.
func (s *Stack) invokedBy(ctx context.Context, role, function string, event []byte) ([]byte, error) {
	if _, err := s.Services.Assume(role, gatewayService, "gateway"); err != nil {
		return nil, err
	}
	if err := s.Services.Check(role, "lambda:InvokeFunction", s.Services.Function(function)); err != nil {
		return nil, err
	}
	return s.Lambda.Invoke(ctx, function, event)
}

// call runs a first-class integration of a gateway. What was asked for goes on
// when the gateway no longer waits.
func (s *Stack) call(ctx context.Context, c httpapi.Call) (*http.Response, error) {
	if _, err := s.Services.Assume(c.Role, gatewayService, "gateway"); err != nil {
		return nil, err
	}
	type answer struct {
		status int
		body   []byte
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		status, body, err := s.Services.Integrate(c.Subtype, c.Role, c.Parameters)
		answers <- answer{status, body, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, a.err
		}
		return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// may asks whether the function's role may do what Lambda does on its behalf.
func (s *Stack) may(function, resource string, actions ...string) error {
	f, err := s.function(function)
	if err != nil {
		return err
	}
	for _, action := range actions {
		if err := s.Services.Check(f.Role, action, resource); err != nil {
			return err
		}
	}
	return nil
}

// started is asked for each process of a function, which gets the credentials of
// its role and writes to its log.
func (s *Stack) started(f *lambda.Function, logStream string) ([]string, error) {
	c, err := s.Services.Assume(f.Role, lambdaService, f.Name)
	if err != nil {
		return nil, err
	}
	return c.Environment(), s.may(f.Name, s.Services.LogStream(f.LogGroup, logStream), "logs:CreateLogStream", "logs:PutLogEvents")
}

// comesAgain is how soon a message comes again whose function failed.
const comesAgain = 50 * time.Millisecond

// consume hands the messages of a queue to a function. Every fourth batch that
// went well comes a second time, as of a deletion that was lost.
func (s *Stack) consume(ctx context.Context, m mapping) {
	function := template.Name(m.FunctionName)
	var n atomic.Int64
	err := s.Services.Queues.Deliver(ctx, awstest.Delivery{
		Queue: template.Name(m.EventSourceArn), BatchSize: m.BatchSize, Again: comesAgain,
		ReportItemFailures: strings.Join(m.FunctionResponseTypes, "") == "ReportBatchItemFailures",
		May: func() error {
			return s.may(function, m.EventSourceArn, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
		},
	}, func(ctx context.Context, event []byte) ([]byte, error) {
		answer, err := s.tell(ctx, function, event)
		if err == nil && n.Add(1)%4 == 0 && !s.o.Once {
			if _, err := s.Lambda.Invoke(ctx, function, event); err != nil && ctx.Err() == nil {
				s.complain("%s fails when messages come twice: %v", function, err)
			}
		}
		return answer, err
	})
	if ctx.Err() == nil {
		s.complain("the messages of %s are not delivered: %v", m.EventSourceArn, err)
	}
}

// putAside sends what a function always failed for to a queue.
func (s *Stack) putAside(function, queue, about string) error {
	if err := s.may(function, queue, "sqs:SendMessage"); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"QueueUrl": template.Name(queue), "MessageBody": about})
	if err != nil {
		return err
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	if s.Services.Queues.ServeHTTP(w, r); w.Code != http.StatusOK {
		return fmt.Errorf("send to %s: %s", queue, w.Body)
	}
	return nil
}

// waiting returns how many messages of a queue are due or being handled.
func (s *Stack) waiting(queue string) (n int) {
	a, err := s.Services.Queues.Attributes(template.Name(queue))
	if err != nil {
		s.complain("%s: %v", queue, err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
		k, err := strconv.Atoi(a[name])
		if err != nil {
			s.complain("%s has %q messages", queue, a[name])
		}
		n += k
	}
	return n
}
