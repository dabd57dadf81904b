package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The provider asks two services one question each. Their clients would be two
// more modules in every function, so the questions are written here.

// invokeLater lets Lambda run a function with the event, without waiting.
func invokeLater(ctx context.Context, cfg sdk.Config, function string, event []byte) error {
	if function == "" {
		return errors.New("the name of the function is not known")
	}
	_, err := call(ctx, cfg, "lambda", "/2015-03-31/functions/"+url.PathEscape(function)+"/invocations", string(event),
		map[string]string{"Content-Type": "application/json", "X-Amz-Invocation-Type": "Event"})
	return err
}

// stackStatus returns the status of a stack, such as DELETE_IN_PROGRESS.
func stackStatus(ctx context.Context, cfg sdk.Config, id string) (string, error) {
	body := url.Values{"Action": {"DescribeStacks"}, "Version": {"2010-05-15"}, "StackName": {id}}.Encode()
	text, err := call(ctx, cfg, "cloudformation", "/", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `xml:"DescribeStacksResult>Stacks>member>StackStatus"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return "", err
	}
	if answer.Status == "" {
		return "", errors.New("CloudFormation does not tell the status")
	}
	return answer.Status, nil
}

// maxCallAnswer is more than any of these answers has.
const maxCallAnswer = 1 << 20

// call posts a signed request to a service, and repeats it while the service is
// at fault.
func call(ctx context.Context, cfg sdk.Config, service, path, body string, header map[string]string) ([]byte, error) {
	for try := 1; ; try++ {
		text, again, err := callOnce(ctx, cfg, service, path, body, header)
		if !again || try == 4 {
			return text, err
		}
		select {
		case <-time.After(time.Duration(try) * 250 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func callOnce(ctx context.Context, cfg sdk.Config, service, path, body string, header map[string]string) (text []byte, again bool, err error) {
	endpoint := "https://" + service + "." + cfg.Region + ".amazonaws.com"
	switch {
	case cfg.BaseEndpoint != nil:
		endpoint = strings.TrimSuffix(*cfg.BaseEndpoint, "/")
	case strings.HasPrefix(cfg.Region, "cn-"):
		endpoint += ".cn"
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+path, strings.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, false, err
	}
	digest := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(digest[:]), service, cfg.Region, time.Now()); err != nil {
		return nil, false, err
	}
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		return nil, true, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxCallAnswer))
	switch {
	case err != nil:
		return nil, true, err
	case resp.StatusCode/100 != 2:
		again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		return nil, again, fmt.Errorf("%s answers %s: %.200s", service, resp.Status, text)
	}
	return text, false, nil
}
