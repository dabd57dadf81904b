package awstest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/queue"
)

// Queues imitates SQS, as far as the server uses it: sending, with the limits of
// SQS, and Lambda's delivery of what was sent.
type Queues struct {
	// URLs fit aws.Options; Endpoint is where they are.
	URLs     map[string]string
	Endpoint string

	mu     sync.Mutex
	queues map[string]*sentQueue
	n      int
}

type sentQueue struct {
	fifo     bool
	messages []*sentMessage
	seen     map[string]time.Time // deduplication ids
}

type sentMessage struct {
	event    events.SQSMessage
	group    string
	visible  time.Time
	inFlight bool
	receives int
}

// Times of the imitation. SQS would let minutes pass before a failed message
// comes again.
const (
	deduplication = 5 * time.Minute
	comesAgain    = 50 * time.Millisecond
)

// SQS starts queues for the length of the test.
func SQS(t testing.TB) *Queues {
	s := &Queues{URLs: map[string]string{}, queues: map[string]*sentQueue{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.Endpoint = srv.URL
	for _, q := range queue.Queues {
		name := Stack + "_" + q.Name
		if q.FIFO {
			name += ".fifo"
		}
		s.URLs[q.Name] = srv.URL + "/000000000000/" + name
		s.queues[name] = &sentQueue{fifo: q.FIFO, seen: map[string]time.Time{}}
	}
	return s
}

// Options returns the options of NewSender.
func (s *Queues) Options() aws.Options {
	return aws.Options{Stack: Stack, Queues: s.URLs, Config: Config(s.Endpoint)}
}

// sendMessage is the request of SendMessage in SQS's JSON protocol.
type sendMessage struct {
	QueueURL               string `json:"QueueUrl"`
	MessageBody            string
	DelaySeconds           int
	MessageGroupID         string `json:"MessageGroupId"`
	MessageDeduplicationID string `json:"MessageDeduplicationId"`
	MessageAttributes      map[string]struct {
		DataType    string
		BinaryValue []byte
	}
}

// ServeHTTP answers SendMessage.
func (s *Queues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	var in sendMessage
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if target := r.Header.Get("X-Amz-Target"); err == nil && target != "AmazonSQS.SendMessage" {
		err = fmt.Errorf("%s is not imitated", target)
	}
	var id string
	if err == nil {
		id, err = s.send(in)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"MessageId": id, "MD5OfMessageBody": digest(in.MessageBody)})
}

func digest(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (s *Queues) send(in sendMessage) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[path.Base(in.QueueURL)]
	if q == nil {
		return "", fmt.Errorf("no queue %q", in.QueueURL)
	}
	if err := q.check(in); err != nil {
		return "", err
	}
	s.n++
	id = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.n)
	now := time.Now()
	if q.fifo {
		if now.Before(q.seen[in.MessageDeduplicationID]) {
			return id, nil
		}
		q.seen[in.MessageDeduplicationID] = now.Add(deduplication)
	}
	m := &sentMessage{group: in.MessageGroupID, visible: now.Add(time.Duration(in.DelaySeconds) * time.Second)}
	m.event = events.SQSMessage{
		MessageId: id, ReceiptHandle: "receipt " + id, Body: in.MessageBody, Md5OfBody: digest(in.MessageBody),
		EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:us-east-1:000000000000:" + path.Base(in.QueueURL), AWSRegion: "us-east-1",
		Attributes:        map[string]string{"SentTimestamp": fmt.Sprint(now.UnixMilli())},
		MessageAttributes: map[string]events.SQSMessageAttribute{},
	}
	if q.fifo {
		m.event.Attributes["MessageGroupId"] = in.MessageGroupID
		m.event.Attributes["MessageDeduplicationId"] = in.MessageDeduplicationID
	}
	for name, a := range in.MessageAttributes {
		m.event.MessageAttributes[name] = events.SQSMessageAttribute{DataType: a.DataType, BinaryValue: a.BinaryValue}
	}
	q.messages = append(q.messages, m)
	return id, nil
}

// check refuses what SQS refuses.
func (q *sentQueue) check(in sendMessage) error {
	size := len(in.MessageBody)
	for name, a := range in.MessageAttributes {
		size += len(name) + len(a.DataType) + len(a.BinaryValue)
	}
	isToken := func(s string) bool {
		return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	}
	noXML := func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	}
	switch {
	case in.MessageBody == "" || size > 1<<20:
		return fmt.Errorf("a message of %d bytes", size)
	case strings.IndexFunc(in.MessageBody, noXML) >= 0:
		return errors.New("invalid characters in the message")
	case in.DelaySeconds < 0 || in.DelaySeconds > 900 || q.fifo && in.DelaySeconds != 0:
		return fmt.Errorf("a delay of %d s", in.DelaySeconds)
	case q.fifo && !(isToken(in.MessageGroupID) && isToken(in.MessageDeduplicationID)):
		return errors.New("a FIFO message without group or deduplication id")
	case !q.fifo && in.MessageDeduplicationID != "":
		return errors.New("a deduplication id on a standard queue")
	}
	return nil
}

// Consume invokes a function with what is sent to the queue until ctx ends, as
// Lambda does: up to ten messages at once, two batches at a time, one batch of
// a FIFO group at a time. What the function does not report as failed is
// deleted; a function that fails as a whole gets its batch again.
func (s *Queues) Consume(ctx context.Context, q *queue.Queue, function aws.Invocation) error {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if s.poll(ctx, s.queues[path.Base(s.URLs[q.Name])], function) {
					continue
				}
				select {
				case <-time.After(2 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// poll delivers one batch, if there is one.
func (s *Queues) poll(ctx context.Context, q *sentQueue, function aws.Invocation) bool {
	batch := s.receive(q)
	if len(batch) == 0 {
		return false
	}
	var event events.SQSEvent
	for _, m := range batch {
		event.Records = append(event.Records, m.event)
	}
	failed := map[string]bool{}
	payload, err := json.Marshal(event)
	if err == nil {
		payload, err = function(ctx, payload)
	}
	var answer events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(payload, &answer)
	}
	for _, f := range answer.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range batch {
		m.inFlight, m.visible = false, time.Now().Add(comesAgain)
		if err == nil && !failed[m.event.MessageId] {
			q.messages = slices.DeleteFunc(q.messages, func(o *sentMessage) bool { return o == m })
		}
	}
	return true
}

func (s *Queues) receive(q *sentQueue) (batch []*sentMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	held := map[string]bool{}
	for _, m := range q.messages {
		switch {
		case len(batch) == 10:
			return batch
		case q.fifo && held[m.group]:
		case m.inFlight || now.Before(m.visible):
			held[m.group] = true
		default:
			m.inFlight = true
			m.receives++
			attributes := map[string]string{"ApproximateReceiveCount": fmt.Sprint(m.receives)}
			for k, v := range m.event.Attributes {
				if k != "ApproximateReceiveCount" {
					attributes[k] = v
				}
			}
			m.event.Attributes = attributes
			batch = append(batch, m)
		}
	}
	return batch
}
