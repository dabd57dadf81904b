package account_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/virga-im/virga/shared/aws/account"
)

// at returns an account whose services give one answer, and what they were asked.
func at(t *testing.T, status int, header http.Header, answer string) (*account.Account, *http.Request) {
	t.Helper()
	asked := new(http.Request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = *r.Clone(t.Context())
		asked.Body = io.NopCloser(strings.NewReader(string(body)))
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return account.With(sdk.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	}), asked
}

// The answers have the form that the API references of the services show.
func TestQuestionsAreAskedAndAnswersRead(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		ask    func(*account.Account) (string, error)
		want   string
		scope  string // of the signature: region and service
		target string // of the request
		body   string
		path   string
	}{
		"caller": {
			`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/Alice</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`,
			func(a *account.Account) (string, error) {
				number, arn, err := a.Caller(t.Context())
				return number + " " + arn, err
			}, "123456789012 arn:aws:iam::123456789012:user/Alice", "/eu-central-1/sts/", "", "Action=GetCallerIdentity&Version=2011-06-15", "/",
		},
		"parameter": {
			`{"Parameter":{"Name":"/p","Type":"String","Value":"27","Version":3}}`,
			func(a *account.Account) (string, error) { return a.Parameter(t.Context(), "/p") }, "27",
			"/eu-central-1/ssm/", "AmazonSSM.GetParameter", `{"Name":"/p"}`, "/",
		},
		"concurrency": {
			`{"AccountLimit":{"ConcurrentExecutions":10,"UnreservedConcurrentExecutions":10},"AccountUsage":{"FunctionCount":4}}`,
			func(a *account.Account) (string, error) {
				n, err := a.Concurrency(t.Context())
				return strings.Repeat("x", n), err
			}, "xxxxxxxxxx", "/eu-central-1/lambda/", "", "", "/2016-08-19/account-settings/",
		},
		"certificate": {
			`{"Certificate":{"CertificateArn":"arn","DomainName":"example.org","SubjectAlternativeNames":["example.org","*.example.org"],"Status":"ISSUED"}}`,
			func(a *account.Account) (string, error) {
				status, names, err := a.Certificate(t.Context(), "arn")
				slices.Sort(names)
				return status + " " + strings.Join(slices.Compact(names), " "), err
			}, "ISSUED *.example.org example.org", "/us-east-1/acm/", "CertificateManager.DescribeCertificate", `{"CertificateArn":"arn"}`, "/",
		},
		"zone": {
			`<?xml version="1.0"?><GetHostedZoneResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZone><Id>/hostedzone/Z1</Id><Name>example.org.</Name></HostedZone></GetHostedZoneResponse>`,
			func(a *account.Account) (string, error) { return a.Zone(t.Context(), "Z1") }, "example.org",
			"/us-east-1/route53/", "", "", "/2013-04-01/hostedzone/Z1",
		},
		"stack": {
			`<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks><member><StackName>a</StackName><StackStatus>UPDATE_COMPLETE</StackStatus>
			<Outputs><member><OutputKey>URL</OutputKey><OutputValue>https://x</OutputValue></member></Outputs><Tags><member><Key>server</Key><Value>example.org</Value></member></Tags></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`,
			func(a *account.Account) (string, error) {
				s, err := a.Stack(t.Context(), "a b")
				return s.Status + " " + s.Outputs["URL"] + " " + s.Tags["server"], err
			}, "UPDATE_COMPLETE https://x example.org", "/eu-central-1/cloudformation/", "", "Action=DescribeStacks&StackName=a+b&Version=2010-05-15", "/",
		},
		"queue": {
			`{"QueueUrl":"https://sqs.eu-central-1.amazonaws.com/123456789012/a_work"}`,
			func(a *account.Account) (string, error) { return a.QueueURL(t.Context(), "a_work") }, "https://sqs.eu-central-1.amazonaws.com/123456789012/a_work",
			"/eu-central-1/sqs/", "AmazonSQS.GetQueueUrl", `{"QueueName":"a_work"}`, "/",
		},
	} {
		a, asked := at(t, 200, nil, tt.answer)
		got, err := tt.ask(a)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
		body, _ := io.ReadAll(asked.Body)
		if !strings.Contains(asked.Header.Get("Authorization"), tt.scope) || asked.Header.Get("X-Amz-Target") != tt.target || string(body) != tt.body || asked.URL.Path != tt.path {
			t.Errorf("%s: asked %s %q with %v", name, asked.URL, body, asked.Header)
		}
	}
}

func TestRefusalsAreTold(t *testing.T) {
	for _, tt := range []struct {
		status int
		header http.Header
		answer string
		want   string // empty if it is missing
	}{
		{400, nil, `{"__type":"ParameterNotFound","message":null}`, ""},
		{400, nil, `{"__type":"com.amazonaws.acm#ResourceNotFoundException","message":"no"}`, ""},
		{404, nil, `<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchHostedZone</Code><Message>no</Message></Error></ErrorResponse>`, ""},
		{400, nil, `<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id a does not exist</Message></Error></ErrorResponse>`, ""},
		{400, nil, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}`, ""},
		{400, nil, `<ErrorResponse><Error><Code>ValidationError</Code><Message>no</Message></Error></ErrorResponse>`, "ssm: ValidationError: no"},
		{403, nil, `<ErrorResponse><Error><Code>ExpiredToken</Code><Message>The token has expired</Message></Error></ErrorResponse>`, "ssm: ExpiredToken: The token has expired"},
		{403, http.Header{"X-Amzn-Errortype": {"AccessDeniedException:http://x/"}}, `{"message":"not you"}`, "ssm: AccessDeniedException: not you"},
		{502, nil, `<html>bad gateway`, "ssm: 502 Bad Gateway: <html>bad gateway"},
		{200, nil, `<html>`, "answer of ssm"},
	} {
		a, _ := at(t, tt.status, tt.header, tt.answer)
		_, err := a.Parameter(t.Context(), "/p")
		if tt.want == "" && !errors.Is(err, account.ErrMissing) || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.answer, err, tt.want)
		}
	}
}
