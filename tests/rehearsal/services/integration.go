package services

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
)

// integrations are the first-class integrations of HTTP APIs with SQS that are
// known here, with their parameters. Those that are numbers end in a #, and those
// that must be there in a !.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-aws-services-reference.html
var integrations = map[string][]string{
	"SQS-ReceiveMessage": {
		"QueueUrl!", "AttributeNames", "MaxNumberOfMessages#", "MessageAttributeNames", "ReceiveRequestAttemptId",
		"VisibilityTimeout#", "WaitTimeSeconds#", "Region",
	},
}

// Integrate does what an HTTP API does for a route with a first-class integration:
// it makes a request as the role with the ARN, with the parameters of the
// integration as they are after mapping. The status and the body are those of SQS,
// which the API maps or passes on. It blocks as long as SQS does, whoever waits.
//
// An error means that AWS would have refused to create the integration.
func (s *Services) Integrate(subtype, role string, parameters map[string]string) (status int, body []byte, err error) {
	known := integrations[subtype]
	if known == nil {
		return 0, nil, fmt.Errorf("the integration %s is not known here", subtype)
	}
	in := map[string]any{}
	for name, value := range parameters {
		switch {
		case name == "Region":
			if value != s.region() {
				return 0, nil, fmt.Errorf("%s: the region %s has no queues of the stack", subtype, value)
			}
		case slices.Contains(known, name+"#"):
			n, err := strconv.Atoi(value)
			if err != nil {
				return 0, nil, fmt.Errorf("%s: the parameter %s is %q, which is no number", subtype, name, value)
			}
			in[name] = n
		case strings.HasSuffix(name, "Names") && slices.Contains(known, name):
			in[name] = strings.Split(value, ",")
		case slices.Contains(known, name), slices.Contains(known, name+"!"):
			in[name] = value
		default:
			return 0, nil, fmt.Errorf("%s: the parameter %s is not known, or is %q", subtype, name, value)
		}
	}
	for _, name := range known {
		if required, ok := strings.CutSuffix(name, "!"); ok && in[required] == nil {
			return 0, nil, fmt.Errorf("%s: the parameter %s is missing", subtype, required)
		}
	}
	if body, err = json.Marshal(in); err != nil {
		return 0, nil, err
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonSQS."+strings.TrimPrefix(subtype, "SQS-"))
	rec := httptest.NewRecorder()
	defer func() {
		if lost := recover(); lost == http.ErrAbortHandler {
			status, body, err = http.StatusInternalServerError, nil, nil // as it is for the client of the API
		} else if lost != nil {
			panic(lost)
		}
	}()
	s.answer(rec, r, body, s.apis["sqs"], "sqs", principal{arn: s.assumed(role, "apigateway"), role: s.roles[role], session: "apigateway"})
	return rec.Code, rec.Body.Bytes(), nil
}
