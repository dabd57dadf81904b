package awstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/queue"
)

// Queues imitates SQS as far as the server and its stack use it, in SQS's JSON
// protocol, and Lambda's delivery of what was sent (Deliver).
//
// As on AWS, a receive that waits goes on when its client is gone, and takes the
// messages that come in that time to nowhere until their visibility timeout ends.
// Of several receives that wait, the one that came first gets a message.
//
// All methods are safe for concurrent use.
type Queues struct {
	// URLs are those of the queues that SQS made, by the names of shared/queue;
	// they fit aws.Options. Endpoint is where SQS listens.
	URLs     map[string]string
	Endpoint string

	options QueuesOptions
	closed  chan struct{}
	close   func()

	mu      sync.Mutex
	settle  time.Duration
	queues  map[string]*messageQueue
	deleted map[string]time.Time
	n       int // of all messages and receives so far
}

// QueuesOptions says how an imitation of SQS differs from the usual.
type QueuesOptions struct {
	// BaseURL begins the URLs of queues: without a slash at its end, and followed
	// by /<account>/<name>.
	BaseURL string
	// Account and Region are in the ARNs of queues. Nothing means 000000000000 and
	// us-east-1.
	Account, Region string
}

// SQS starts the queues of shared/queue for the length of the test.
func SQS(t testing.TB) *Queues {
	s := NewQueues(QueuesOptions{})
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close() // before the server, which waits for its requests
		srv.Close()
	})
	s.Endpoint, s.options.BaseURL = srv.URL, srv.URL
	s.URLs = map[string]string{}
	for _, q := range queue.Queues {
		name, attributes := Stack+"_"+q.Name, map[string]string{}
		if q.FIFO {
			name += ".fifo"
			attributes = map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
		}
		url, err := s.Create(name, attributes)
		if err != nil {
			t.Fatalf("create the queue %s: %v", name, err)
		}
		s.URLs[q.Name] = url
	}
	return s
}

// NewQueues returns an imitation without queues. It is an http.Handler; Close
// ends the receives that wait.
func NewQueues(o QueuesOptions) *Queues {
	if o.Account == "" {
		o.Account = "000000000000"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	s := &Queues{options: o, queues: map[string]*messageQueue{}, deleted: map[string]time.Time{}, closed: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	return s
}

// Close ends all receives that wait, without messages.
func (s *Queues) Close() { s.close() }

// Settle sets how long a queue cannot be used yet that is made from now on: up to
// a second on AWS. Without it, a new queue is usable at once.
func (s *Queues) Settle(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle = d
}

// Options returns the options of NewSender.
func (s *Queues) Options() aws.Options {
	return aws.Options{Stack: Stack, Queues: s.URLs, Config: Config(s.Endpoint)}
}

// URL returns the URL of a queue, which need not exist.
func (s *Queues) URL(name string) string {
	return s.options.BaseURL + "/" + s.options.Account + "/" + name
}

// ARN returns the ARN of a queue, which need not exist.
func (s *Queues) ARN(name string) string {
	return "arn:aws:sqs:" + s.options.Region + ":" + s.options.Account + ":" + name
}

// An SQSError is what SQS answers to a request that it refuses.
type SQSError struct {
	Code    string // the name of the error in the query protocol, which is what SDKs show
	Type    string // its shape in the JSON protocol
	Message string
}

// Error implements error.
func (e *SQSError) Error() string { return e.Code + ": " + e.Message }

func noSuchQueue() error {
	return &SQSError{"AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist."}
}

func invalid(message string) error {
	return &SQSError{"InvalidParameterValue", "com.amazon.coral.service#InvalidParameterValueException", message}
}

// ServeHTTP answers the requests of sqsOperations.
func (s *Queues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := sqsOperations[strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")]
	body, err := io.ReadAll(r.Body)
	var out any
	switch {
	case err != nil:
		err = invalid(err.Error())
	case operation == nil:
		err = &SQSError{"InvalidAction", "com.amazon.coral.service#UnknownOperationException", r.Header.Get("X-Amz-Target") + " is not imitated"}
	default:
		out, err = operation(s, body)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		WriteSQSError(w, http.StatusBadRequest, err)
		return
	}
	_ = json.NewEncoder(w).Encode(out) // the client may be gone
}

// WriteSQSError answers with an error as SQS does, which names it in the body for
// the JSON protocol and in a header for what came before it.
func WriteSQSError(w http.ResponseWriter, status int, err error) {
	e, ok := err.(*SQSError)
	if !ok {
		e = invalid(err.Error()).(*SQSError)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Query-Error", e.Code+";Sender")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": e.Type, "message": e.Message})
}

// number returns a number that nothing else has. s.mu is held.
func (s *Queues) number() string {
	s.n++
	return fmt.Sprintf("%012d", s.n)
}

// named returns the queue that a URL or name is of. s.mu is held.
func (s *Queues) named(url string) (*messageQueue, error) {
	q := s.queues[path.Base(url)]
	if q == nil || time.Now().Before(q.usable) {
		return nil, noSuchQueue()
	}
	q.age(time.Now())
	return q, nil
}

func digest(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
