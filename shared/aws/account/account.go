// Package account asks an AWS account what must be known before a deploy, and what a
// stack is made of afterwards.
//
// It asks some services one question each. Their SDK clients would be as many more
// modules for programs that run once, so the SDK finds the credentials and
// signs, and the questions are written here.
package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// ErrMissing means that what was asked for does not exist.
var ErrMissing = errors.New("it does not exist")

// Account is an AWS account in one region, as the environment and the shared
// files of the AWS tools choose them.
type Account struct {
	cfg    sdk.Config
	client *http.Client
}

// Open finds the credentials and the region. It asks nothing yet.
func Open(ctx context.Context) (*Account, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	return With(cfg), nil
}

// With returns the account of a configuration. If that has an endpoint, all
// services are asked there.
func With(cfg sdk.Config) *Account {
	return &Account{cfg: cfg, client: &http.Client{Timeout: 15 * time.Second}}
}

// Region is the region that a deploy would go to, or empty if none is chosen.
func (a *Account) Region() string { return a.cfg.Region }

// Caller returns the number of the account and the ARN of whoever asks.
func (a *Account) Caller(ctx context.Context) (number, arn string, err error) {
	var answer struct {
		Account string `xml:"GetCallerIdentityResult>Account"`
		ARN     string `xml:"GetCallerIdentityResult>Arn"`
	}
	err = a.ask(ctx, question{
		service: "sts", region: a.cfg.Region, method: http.MethodPost, path: "/",
		body: "Action=GetCallerIdentity&Version=2011-06-15", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}, xml.Unmarshal, &answer)
	return answer.Account, answer.ARN, err
}

// Parameter returns a parameter of the Systems Manager.
func (a *Account) Parameter(ctx context.Context, name string) (string, error) {
	var answer struct{ Parameter struct{ Value string } }
	err := a.ask(ctx, target("ssm", a.cfg.Region, "AmazonSSM.GetParameter", map[string]string{"Name": name}), json.Unmarshal, &answer)
	return answer.Parameter.Value, err
}

// Concurrency returns how many functions may run at once in the region.
func (a *Account) Concurrency(ctx context.Context) (int, error) {
	var answer struct {
		AccountLimit struct{ ConcurrentExecutions int }
	}
	err := a.ask(ctx, question{
		service: "lambda", region: a.cfg.Region, method: http.MethodGet, path: "/2016-08-19/account-settings/",
	}, json.Unmarshal, &answer)
	return answer.AccountLimit.ConcurrentExecutions, err
}

// Certificate returns the status of a certificate in us-east-1, such as ISSUED,
// and the names it is for.
func (a *Account) Certificate(ctx context.Context, arn string) (status string, names []string, err error) {
	var answer struct {
		Certificate struct {
			Status                  string
			DomainName              string
			SubjectAlternativeNames []string
		}
	}
	err = a.ask(ctx, target("acm", "us-east-1", "CertificateManager.DescribeCertificate", map[string]string{"CertificateArn": arn}), json.Unmarshal, &answer)
	return answer.Certificate.Status, append(answer.Certificate.SubjectAlternativeNames, answer.Certificate.DomainName), err
}

// Zone returns the name of a hosted zone of Route 53, without a dot at its end.
func (a *Account) Zone(ctx context.Context, id string) (string, error) {
	var answer struct {
		Name string `xml:"HostedZone>Name"`
	}
	err := a.ask(ctx, question{service: "route53", region: "us-east-1", method: http.MethodGet, path: "/2013-04-01/hostedzone/" + id}, xml.Unmarshal, &answer)
	return strings.TrimSuffix(answer.Name, "."), err
}

// question is one request to a service.
type question struct {
	service, region, method, path, body string
	header                              map[string]string
}

// target is a question to one of the services that tell operations apart by a
// header.
func target(service, region, operation string, args map[string]string) question {
	body, _ := json.Marshal(args) // strings
	return question{
		service: service, region: region, method: http.MethodPost, path: "/", body: string(body),
		header: map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": operation},
	}
}

// endpoint is where a service is asked. Route 53 is the same everywhere.
func (a *Account) endpoint(q question) string {
	switch {
	case a.cfg.BaseEndpoint != nil:
		return strings.TrimSuffix(*a.cfg.BaseEndpoint, "/")
	case q.service == "route53":
		return "https://route53.amazonaws.com"
	}
	return "https://" + q.service + "." + q.region + ".amazonaws.com"
}

// maxAnswer is more than any of these answers has.
const maxAnswer = 1 << 20

func (a *Account) ask(ctx context.Context, q question, decode func([]byte, any) error, answer any) error {
	req, err := http.NewRequestWithContext(ctx, q.method, a.endpoint(q)+q.path, strings.NewReader(q.body))
	if err != nil {
		return err
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	credentials, err := a.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(q.body))
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), q.service, q.region, time.Now()); err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return refusal(q.service, resp, body)
	}
	if err := decode(body, answer); err != nil {
		return fmt.Errorf("answer of %s: %w", q.service, err)
	}
	return nil
}

// refusal reads an error, which each protocol puts somewhere else.
func refusal(service string, resp *http.Response, body []byte) error {
	var said struct {
		Code    string `xml:"Error>Code" json:"__type"`
		Message string `xml:"Error>Message" json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		_ = xml.Unmarshal(body, &said) // what cannot be read is told as it is
	}
	if code := resp.Header.Get("X-Amzn-Errortype"); code != "" {
		said.Code = code
	}
	_, code, found := strings.Cut(said.Code, "#") // a namespace may come first
	if !found {
		code = said.Code
	}
	code, _, _ = strings.Cut(code, ":") // and a URL last
	switch code {
	case "ParameterNotFound", "ResourceNotFoundException", "NoSuchHostedZone", "QueueDoesNotExist":
		return ErrMissing
	case "ValidationError": // CloudFormation has no code of its own for it
		if strings.HasSuffix(said.Message, "does not exist") {
			return ErrMissing
		}
	case "TooManyRequestsException", "ThrottlingException", "ResourceConflictException", "ResourceInUseException":
		return fmt.Errorf("%s: %s: %s: %w", service, code, said.Message, errBusy)
	case "":
		code, said.Message = resp.Status, string(bytes.TrimSpace(body[:min(len(body), 200)]))
	}
	return fmt.Errorf("%s: %s: %s", service, code, said.Message)
}
