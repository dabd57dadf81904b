package account

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
)

// Stack is what CloudFormation knows of a stack.
type Stack struct {
	Status        string
	Outputs, Tags map[string]string
}

// Stack returns a stack, or ErrMissing.
func (a *Account) Stack(ctx context.Context, name string) (Stack, error) {
	type pair struct {
		Key         string `xml:"Key"`
		Value       string `xml:"Value"`
		OutputKey   string `xml:"OutputKey"`
		OutputValue string `xml:"OutputValue"`
	}
	var answer struct {
		Status  string `xml:"DescribeStacksResult>Stacks>member>StackStatus"`
		Outputs []pair `xml:"DescribeStacksResult>Stacks>member>Outputs>member"`
		Tags    []pair `xml:"DescribeStacksResult>Stacks>member>Tags>member"`
	}
	err := a.ask(ctx, question{
		service: "cloudformation", region: a.cfg.Region, method: http.MethodPost, path: "/",
		body:   url.Values{"Action": {"DescribeStacks"}, "Version": {"2010-05-15"}, "StackName": {name}}.Encode(),
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}, xml.Unmarshal, &answer)
	s := Stack{Status: answer.Status, Outputs: map[string]string{}, Tags: map[string]string{}}
	for _, o := range answer.Outputs {
		s.Outputs[o.OutputKey] = o.OutputValue
	}
	for _, t := range answer.Tags {
		s.Tags[t.Key] = t.Value
	}
	return s, err
}

// QueueURL returns the URL of a queue of SQS, or ErrMissing.
func (a *Account) QueueURL(ctx context.Context, name string) (string, error) {
	q := target("sqs", a.cfg.Region, "AmazonSQS.GetQueueUrl", map[string]string{"QueueName": name})
	q.header["Content-Type"] = "application/x-amz-json-1.0"
	var answer struct{ QueueUrl string }
	err := a.ask(ctx, q, json.Unmarshal, &answer)
	return answer.QueueUrl, err
}
