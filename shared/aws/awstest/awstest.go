// Package awstest starts what tests need of AWS on loopback: a DynamoDB-API
// server and an S3-API server. It is for tests only.
package awstest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/virga-im/virga/shared/aws"
)

// What the servers hold: the tables of Stack, and Bucket.
const (
	Stack  = "test"
	Bucket = "test-media"
)

// CI is the environment variable that .ci/run sets to 1: there, a tool that is
// missing fails the test, while elsewhere it skips it.
const CI = "VIRGA_CI"

// missing ends the test for want of a tool.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(CI) == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Config returns the SDK's configuration for a server on loopback, with pauses
// that are shorter than in earnest. It fits aws.Options.
func Config(endpoint string) func() (sdk.Config, error) {
	return func() (sdk.Config, error) {
		return sdk.Config{
			Region:       "us-east-1",
			Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
			BaseEndpoint: &endpoint,
			Retryer: func() sdk.Retryer {
				return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 10 * time.Millisecond })
			},
			HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		}, nil
	}
}

// Options returns the options of NewDB, or of NewBlobs, for the server at the
// endpoint.
func Options(endpoint string) aws.Options {
	return aws.Options{Stack: Stack, Bucket: Bucket, Config: Config(endpoint)}
}

// S3 starts an S3-API server with an empty bucket for the length of the test,
// and returns its URL. It does not verify signatures.
func S3(t testing.TB) (endpoint string) {
	t.Helper()
	srv := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(srv.Close)
	cfg, _ := Config(srv.URL)()
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: sdk.String(Bucket)}); err != nil {
		t.Fatal("create the bucket: ", err)
	}
	return srv.URL
}
