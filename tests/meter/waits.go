package meter

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/wake"
)

// Waits says who holds a request that waits.
type Waits int

const (
	// Here is the local process, in real time. In the others the clock jumps:
	// whoever waits for a time finds it come at once.
	Here Waits = iota
	// InFunctions is as on AWS with the setting sync=lambda.
	InFunctions
	// InQueues is as on AWS with the setting sync=sqs: the server answers the steps of
	// a wait too, as the gateway does, and they are runs of GatewayStep.
	InQueues
)

// GatewayStep is the name of the runs that are no function's: a wait at a queue.
const GatewayStep = "wait"

// hold makes what holds requests.
func (s *Server) hold(w Waits, log *slog.Logger) (wake.Service, error) {
	switch w {
	case Here:
		return s.db.Wake(), nil
	case InFunctions:
		return aws.HoldInLambda(s.jumps), nil
	case InQueues:
		const prefix = "https://sqs.us-east-1.amazonaws.com/000000000000/meter_wait_"
		o := aws.Options{Waits: prefix, Config: func() (sdk.Config, error) {
			return sdk.Config{
				Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("meter", "meter", ""), HTTPClient: s.waits,
			}, nil
		}}
		return aws.HoldInQueue(o, s.db.DB(), s.jumps, log), nil
	}
	return nil, fmt.Errorf("the meter knows no such hold: %d", w)
}

// waitQueues are the queues of SQS at which clients wait. Their time is the
// clock's, so that a minute's wait takes none. They count the calls.
type waitQueues struct {
	clock *Clock

	mu       sync.Mutex
	calls    int
	messages map[string][]time.Time // by queue, until when each is kept
}

// Do answers the SDK.
func (q *waitQueues) Do(r *http.Request) (*http.Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	var in struct{ QueueName, QueueURL, MessageBody string }
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	out := map[string]string{}
	switch op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS."); op {
	case "CreateQueue":
		q.messages[in.QueueName] = nil
		out["QueueUrl"] = in.QueueName
	case "SendMessage":
		name := path.Base(in.QueueURL)
		if _, ok := q.messages[name]; !ok {
			return nil, fmt.Errorf("there is no queue %s", name)
		}
		q.messages[name] = append(q.messages[name], q.clock.Now().Add(places.Retention))
		sum := md5.Sum([]byte(in.MessageBody))
		out["MessageId"], out["MD5OfMessageBody"] = "m", hex.EncodeToString(sum[:])
	default:
		return nil, fmt.Errorf("a function does not call %s of a queue where clients wait", op)
	}
	answer, err := json.Marshal(out)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(string(answer))), Request: r,
	}, err
}

// receive waits for a message, and reports whether one came.
func (q *waitQueues) receive(queue string, wait time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	for name, kept := range q.messages {
		if strings.HasSuffix(name, queue) {
			now := q.clock.Now()
			kept = slices.DeleteFunc(kept, func(until time.Time) bool { return until.Before(now) })
			q.messages[name] = nil // ten at a time: all there are
			if len(kept) > 0 {
				return true
			}
		}
	}
	q.clock.step(wait)
	return false
}

func (q *waitQueues) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.calls
}

// step is what the gateway does of a wait, if the path is of one: it receives from
// the queue, and sends the client on whatever comes of that.
func (s *Server) step(urlPath string) (next string, ok bool) {
	words := strings.Split(urlPath, "/")
	if s.o.Waits != InQueues || len(words) != 6 || words[1] != "hold" {
		return "", false
	}
	if queue := words[5]; len(queue) == 1 && strings.Contains(places.Queues, queue) {
		s.waits.receive(words[4]+queue, places.Hold)
		return "done", true
	}
	return "", false
}
