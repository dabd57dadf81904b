// Package aws runs the server on AWS: the store on DynamoDB, objects on S3,
// queues on SQS, and the program on Lambda. It is the only user of the AWS SDK,
// and has no rules of its own: it translates the contracts of shared/store,
// shared/queue, shared/blob and shared/wake, and passes their contract tests.
//
// Grants are not checked here. IAM checks them, with the role that infra/aws
// makes of the same declarations.
package aws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/virga-im/virga/shared/queue"
)

// The environment of a function, which infra/aws sets and FromEnvironment
// reads. The URL of a queue is in QueueEnv(queue).
const (
	StackEnv  = "VIRGA_STACK"
	BucketEnv = "VIRGA_BUCKET"
	// WaitsEnv holds what the URLs of the queues begin with at which requests wait;
	// a stack without it holds them in functions.
	WaitsEnv = "VIRGA_WAIT_QUEUES"
)

// QueueEnv names the environment variable that holds the URL of the queue.
func QueueEnv(q *queue.Queue) string { return "VIRGA_QUEUE_" + strings.ToUpper(q.Name) }

// Options says where the resources of a stack are. Nothing is connected to
// before it is used, so a function pays only for the clients that it needs.
type Options struct {
	// Stack is the name of the stack; its tables are <stack>_<name>. A stack name
	// holds no underscore, so no stack's tables look like another's.
	Stack string
	// Bucket is the media bucket.
	Bucket string
	// Waits is what the URLs of queues begin with at which requests wait.
	Waits string
	// Queues are the queues' URLs by name. A function has those it may send to.
	Queues map[string]string
	// Config returns the SDK's configuration. Share one Config between the
	// constructors; nil means FunctionConfig().
	Config func() (sdk.Config, error)
}

// FromEnvironment returns the options of the function that the process runs as.
func FromEnvironment() (Options, error) {
	o := Options{
		Stack:  os.Getenv(StackEnv),
		Bucket: os.Getenv(BucketEnv),
		Waits:  os.Getenv(WaitsEnv),
		Queues: map[string]string{},
		Config: FunctionConfig(),
	}
	if o.Stack == "" {
		return Options{}, fmt.Errorf("the environment variable %s is not set", StackEnv)
	}
	for _, q := range queue.Queues {
		if url := os.Getenv(QueueEnv(q)); url != "" {
			o.Queues[q.Name] = url
		}
	}
	return o, nil
}

// FunctionConfig returns a function that makes the SDK's configuration of what
// Lambda sets in the environment, on its first call, and remembers it. For
// servers that imitate AWS it also reads AWS_ENDPOINT_URL, and the same for one
// service, such as AWS_ENDPOINT_URL_S3.
//
// The SDK's own way also looks into files, asks services for credentials and has
// the clients of five of them, which a function never needs: a third of the
// program, and a part of every cold start. Programs that people run have it of
// shared/aws/account.
//
// Connections give up sooner than the SDK's own: a function that was frozen
// finds its idle connections dead, and has seconds, not minutes.
func FunctionConfig() func() (sdk.Config, error) {
	return sync.OnceValues(func() (sdk.Config, error) {
		env := map[string]string{}
		for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			if env[name] = os.Getenv(name); env[name] == "" {
				return sdk.Config{}, fmt.Errorf("AWS configuration: the environment variable %s is not set", name)
			}
		}
		cfg := sdk.Config{
			Region: env["AWS_REGION"],
			Credentials: credentials.NewStaticCredentialsProvider(
				env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], os.Getenv("AWS_SESSION_TOKEN")),
			HTTPClient: awshttp.NewBuildableClient().
				WithDialerOptions(func(d *net.Dialer) { d.Timeout = 2 * time.Second }).
				WithTransportOptions(func(t *http.Transport) {
					t.ResponseHeaderTimeout = 8 * time.Second
					t.TLSHandshakeTimeout = 3 * time.Second
				}),
			Retryer:                    newRetryer,
			ConfigSources:              []any{endpoints{}},
			RequestChecksumCalculation: sdk.RequestChecksumCalculationWhenSupported,
			ResponseChecksumValidation: sdk.ResponseChecksumValidationWhenSupported,
		}
		if url := os.Getenv("AWS_ENDPOINT_URL"); url != "" {
			cfg.BaseEndpoint = &url
		}
		return cfg, nil
	})
}

// endpoints tells the SDK's clients where a service is, if not at Amazon's.
type endpoints struct{}

// GetServiceBaseEndpoint returns the endpoint of one service.
func (endpoints) GetServiceBaseEndpoint(_ context.Context, service string) (url string, found bool, err error) {
	url = os.Getenv("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(service, " ", "_")))
	return url, url != "", nil
}

func newRetryer() sdk.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 4
		// The SDK's own delay is exactly the longest one where that is a second,
		// each time. A function is paid for while it waits.
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return time.Duration(rand.Int64N(int64(min(retryAfter<<attempt, time.Second)))), nil
		})
	})
}

// retryAfter is half of the longest delay of the first repetition. Each one doubles
// it, up to a second.
const retryAfter = 50 * time.Millisecond

// lazily returns a function that builds a client on its first call.
func lazily[C any](o Options, build func(sdk.Config) C) func() (C, error) {
	load := o.Config
	if load == nil {
		load = FunctionConfig()
	}
	return sync.OnceValues(func() (C, error) {
		cfg, err := load()
		if err != nil {
			var none C
			return none, err
		}
		return build(cfg), nil
	})
}
