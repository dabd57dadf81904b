package services

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/tests/rehearsal/iam"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// createQueues makes the queues of the template, those of dead letters first.
func (s *Services) createQueues() error {
	ids := s.template.IDs("AWS::SQS::Queue")
	for _, redriven := range []bool{false, true} {
		for _, id := range ids {
			properties, err := s.template.Properties(id)
			if err != nil {
				return err
			}
			if (properties["RedrivePolicy"] != nil) != redriven {
				continue
			}
			attributes, err := queueAttributes(properties)
			if err == nil {
				_, err = s.Queues.Create(s.template.Physical(id), attributes)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	return nil
}

// queueAttributes writes properties as the attributes of CreateQueue.
func queueAttributes(properties map[string]any) (map[string]string, error) {
	attributes := map[string]string{}
	for name, value := range properties {
		switch value := value.(type) {
		case string:
			attributes[name] = value
		case bool:
			attributes[name] = strconv.FormatBool(value)
		case float64:
			attributes[name] = strconv.FormatFloat(value, 'f', -1, 64)
		default:
			text, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			attributes[name] = string(text)
		}
	}
	delete(attributes, "QueueName")
	delete(attributes, "Tags")
	return attributes, nil
}

// sqsAPI is the API of SQS in front of Queues.
type sqsAPI struct{ s *Services }

// call implements api. ListQueues can be granted on all queues only. A batch
// needs what its messages need.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
func (a *sqsAPI) call(r *http.Request, body []byte) (operation string, needs []iam.Request) {
	operation = strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	action := "sqs:" + strings.TrimSuffix(operation, "Batch")
	var in struct{ QueueName, QueueUrl string }
	err := json.Unmarshal(body, &in)
	name := in.QueueName
	if in.QueueUrl != "" {
		name = template.Name(in.QueueUrl)
	}
	switch {
	case operation == "ListQueues":
		return operation, []iam.Request{{Action: action, Resource: "*"}}
	case err != nil || name == "":
		return operation, []iam.Request{{Action: action, Resource: "a request that is not known here"}}
	}
	return operation, []iam.Request{{Action: action, Resource: a.s.Queues.ARN(name)}}
}

// serve implements api.
func (a *sqsAPI) serve(w http.ResponseWriter, r *http.Request, body []byte, _ principal) {
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	a.s.Queues.ServeHTTP(w, again)
}

// fail implements api.
func (a *sqsAPI) fail(w http.ResponseWriter, _ *http.Request, why failure, message string) {
	e := map[failure]*awstest.SQSError{
		denied:       {Code: "AccessDenied", Type: "com.amazon.coral.service#AccessDeniedException"},
		unknownKey:   {Code: "InvalidClientTokenId", Type: "com.amazon.coral.service#UnrecognizedClientException"},
		badSignature: {Code: "SignatureDoesNotMatch", Type: "com.amazon.coral.service#InvalidSignatureException"},
		throttled:    {Code: "RequestThrottled", Type: "com.amazonaws.sqs#RequestThrottled"},
	}[why]
	e.Message = message
	status := http.StatusForbidden
	if why == throttled {
		status = http.StatusBadRequest
	}
	awstest.WriteSQSError(w, status, e)
}
