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
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

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
	// constructors; nil means LoadConfig().
	Config func() (sdk.Config, error)
}

// FromEnvironment returns the options of the function that the process runs as.
func FromEnvironment() (Options, error) {
	o := Options{
		Stack:  os.Getenv(StackEnv),
		Bucket: os.Getenv(BucketEnv),
		Waits:  os.Getenv(WaitsEnv),
		Queues: map[string]string{},
		Config: LoadConfig(),
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

// LoadConfig returns a function that loads the SDK's default configuration on
// its first call (environment, shared files, AWS_ENDPOINT_URL) and remembers it.
//
// Connections give up sooner than the SDK's own: a function that was frozen
// finds its idle connections dead, and has seconds, not minutes.
func LoadConfig() func() (sdk.Config, error) {
	return sync.OnceValues(func() (sdk.Config, error) {
		client := awshttp.NewBuildableClient().
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = 2 * time.Second }).
			WithTransportOptions(func(t *http.Transport) {
				t.ResponseHeaderTimeout = 8 * time.Second
				t.TLSHandshakeTimeout = 3 * time.Second
			})
		cfg, err := config.LoadDefaultConfig(context.Background(), config.WithHTTPClient(client), config.WithRetryer(newRetryer))
		if err != nil {
			return sdk.Config{}, fmt.Errorf("AWS configuration: %w", err)
		}
		return cfg, nil
	})
}

func newRetryer() sdk.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 4
		o.MaxBackoff = time.Second
	})
}

// lazily returns a function that builds a client on its first call.
func lazily[C any](o Options, build func(sdk.Config) C) func() (C, error) {
	load := o.Config
	if load == nil {
		load = LoadConfig()
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
