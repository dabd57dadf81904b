package awstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sqsOperations are the requests that are imitated, by name.
var sqsOperations = map[string]func(*Queues, []byte) (any, error){
	"SendMessage":             operation((*Queues).sendMessage),
	"ReceiveMessage":          operation((*Queues).receiveMessage),
	"DeleteMessage":           operation((*Queues).deleteMessage),
	"ChangeMessageVisibility": operation((*Queues).changeMessageVisibility),
	"CreateQueue":             operation((*Queues).createQueue),
	"DeleteQueue":             operation((*Queues).deleteQueue),
	"PurgeQueue":              operation((*Queues).purgeQueue),
	"ListQueues":              operation((*Queues).listQueues),
	"GetQueueUrl":             operation((*Queues).getQueueURL),
	"GetQueueAttributes":      operation((*Queues).getQueueAttributes),
}

func operation[In, Out any](do func(*Queues, In) (Out, error)) func(*Queues, []byte) (any, error) {
	return func(s *Queues, body []byte) (any, error) {
		var in In
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields() // what is asked for and not imitated must not look as if it were
		if err := dec.Decode(&in); err != nil {
			return nil, invalid(err.Error())
		}
		return do(s, in)
	}
}

type nothing struct{}

type ofQueue struct {
	QueueURL string `json:"QueueUrl"`
}

type attributeValue struct {
	DataType    string
	StringValue *string `json:",omitempty"`
	BinaryValue []byte  `json:",omitempty"`
}

type sendMessageInput struct {
	QueueURL               string `json:"QueueUrl"`
	MessageBody            string
	DelaySeconds           int
	MessageGroupID         string `json:"MessageGroupId"`
	MessageDeduplicationID string `json:"MessageDeduplicationId"`
	MessageAttributes      map[string]attributeValue
}

type sendMessageOutput struct {
	MessageID        string `json:"MessageId"`
	MD5OfMessageBody string
}

func (s *Queues) sendMessage(in sendMessageInput) (sendMessageOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err != nil {
		return sendMessageOutput{}, err
	}
	if err := q.check(in); err != nil {
		return sendMessageOutput{}, invalid(err.Error())
	}
	id := q.add("00000000-0000-4000-8000-"+s.number(), in, time.Now())
	return sendMessageOutput{id, digest(in.MessageBody)}, nil
}

// A Receive asks for messages of a queue.
type Receive struct {
	QueueURL            string `json:"QueueUrl"` // or its name
	MaxNumberOfMessages *int   // at most 10; nothing means 1
	WaitTimeSeconds     *int   // at most 20; nothing means as the queue says
	VisibilityTimeout   *int   // in seconds; nothing means as the queue says
	// What to tell of messages beside their bodies; "All" is everything.
	MessageAttributeNames       []string
	MessageSystemAttributeNames []string
	AttributeNames              []string // what MessageSystemAttributeNames was called
	ReceiveRequestAttemptID     string   `json:"ReceiveRequestAttemptId"`
}

// Received are the messages that a Receive got.
type Received struct {
	Messages []ReceivedMessage `json:",omitempty"`
}

// ReceivedMessage is a message as ReceiveMessage answers it.
type ReceivedMessage struct {
	MessageID         string `json:"MessageId"`
	ReceiptHandle     string
	Body              string
	MD5OfBody         string
	Attributes        map[string]string         `json:",omitempty"`
	MessageAttributes map[string]attributeValue `json:",omitempty"`
}

// Receive waits for messages, and returns none when the time is over or Close is
// called. Nobody can call it back.
func (s *Queues) Receive(in Receive) (Received, error) { return s.receiveMessage(in) }

func (s *Queues) receiveMessage(in Receive) (Received, error) {
	batch, err := s.take(in)
	if err != nil {
		return Received{}, err
	}
	var out Received
	system := append(slices.Clone(in.MessageSystemAttributeNames), in.AttributeNames...)
	for _, m := range batch {
		told := ReceivedMessage{
			MessageID: m.event.MessageId, ReceiptHandle: m.event.ReceiptHandle, Body: m.event.Body, MD5OfBody: m.event.Md5OfBody,
			Attributes: chosen(m.event.Attributes, system), MessageAttributes: map[string]attributeValue{},
		}
		for name, a := range chosen(m.event.MessageAttributes, in.MessageAttributeNames) {
			told.MessageAttributes[name] = attributeValue{a.DataType, a.StringValue, a.BinaryValue}
		}
		out.Messages = append(out.Messages, told)
	}
	return out, nil
}

func chosen[V any](all map[string]V, names []string) map[string]V {
	if slices.Contains(names, "All") {
		return all
	}
	some := map[string]V{}
	for _, name := range names {
		if v, ok := all[name]; ok {
			some[name] = v
		}
	}
	return some
}

type ofMessage struct {
	QueueURL          string `json:"QueueUrl"`
	ReceiptHandle     string
	VisibilityTimeout int
}

func (s *Queues) deleteMessage(in ofMessage) (nothing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err != nil {
		return nothing{}, err
	}
	m, err := q.receipt(in.ReceiptHandle)
	if err != nil || m == nil {
		return nothing{}, err // what is gone is deleted
	}
	if q.fifo() && !time.Now().Before(m.visible) {
		return nothing{}, invalid("Value " + in.ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
	}
	q.remove(m)
	return nothing{}, nil
}

func (s *Queues) changeMessageVisibility(in ofMessage) (nothing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err != nil {
		return nothing{}, err
	}
	m, err := q.receipt(in.ReceiptHandle)
	if err != nil {
		return nothing{}, err
	}
	now := time.Now()
	switch {
	case in.VisibilityTimeout < 0 || in.VisibilityTimeout > 12*3600:
		return nothing{}, invalid(fmt.Sprintf("a visibility timeout of %d s", in.VisibilityTimeout))
	case m == nil || m.handle != in.ReceiptHandle || !now.Before(m.visible):
		return nothing{}, &SQSError{"AWS.SimpleQueueService.MessageNotInflight", "com.amazonaws.sqs#MessageNotInflight", "The message is not in flight."}
	}
	m.visible = now.Add(time.Duration(in.VisibilityTimeout) * time.Second)
	q.changed()
	return nothing{}, nil
}

type createQueueInput struct {
	QueueName  string
	Attributes map[string]string
	Tags       map[string]string `json:"tags"`
}

func (s *Queues) createQueue(in createQueueInput) (ofQueue, error) {
	url, err := s.Create(in.QueueName, in.Attributes)
	return ofQueue{url}, err
}

var queueNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// The attributes of a queue that can be set, with what they are otherwise.
var defaultAttributes = map[string]string{
	"DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
	"ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30", "SqsManagedSseEnabled": "true",
	"RedrivePolicy": "", "FifoQueue": "", "ContentBasedDeduplication": "", "DeduplicationScope": "", "FifoThroughputLimit": "",
}

// The least and the most of the attributes that are numbers.
var attributeBounds = map[string][2]int{
	"DelaySeconds": {0, 900}, "MaximumMessageSize": {1024, 1048576}, "MessageRetentionPeriod": {60, 1209600},
	"ReceiveMessageWaitTimeSeconds": {0, 20}, "VisibilityTimeout": {0, 43200},
}

// Create makes a queue and returns its URL. As on AWS, one that exists is not
// changed: it is returned if the attributes that are given are its own. Its errors
// are *SQSError.
func (s *Queues) Create(name string, attributes map[string]string) (url string, err error) {
	fifo := attributes["FifoQueue"] == "true"
	if !queueNames.MatchString(strings.TrimSuffix(name, ".fifo")) || len(name) > 80 || fifo != strings.HasSuffix(name, ".fifo") {
		return "", invalid(fmt.Sprintf("the queue name %q, FIFO %v", name, fifo))
	}
	for key, value := range attributes {
		if _, ok := defaultAttributes[key]; !ok {
			return "", &SQSError{"InvalidAttributeName", "com.amazonaws.sqs#InvalidAttributeName", "Unknown Attribute " + key + "."}
		}
		if bounds, ok := attributeBounds[key]; ok {
			if n, err := strconv.Atoi(value); err != nil || n < bounds[0] || n > bounds[1] {
				return "", invalid("Invalid value for the parameter " + key + ".")
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if q := s.queues[name]; q != nil {
		for key, value := range attributes {
			if q.attributes[key] != value {
				return "", &SQSError{"QueueAlreadyExists", "com.amazonaws.sqs#QueueNameExists",
					"A queue already exists with the same name and a different value for attribute " + key}
			}
		}
		return s.URL(name), nil
	}
	if now.Before(s.deleted[name].Add(afterDeletion)) {
		return "", &SQSError{"AWS.SimpleQueueService.QueueDeletedRecently", "com.amazonaws.sqs#QueueDeletedRecently",
			"You must wait 60 seconds after deleting a queue before you can create another with the same name."}
	}
	q := newMessageQueue(s.ARN(name), attributes, s.number, now)
	if q.usable = now.Add(s.settle); attributes["RedrivePolicy"] != "" {
		if err := json.Unmarshal([]byte(attributes["RedrivePolicy"]), &q.redrive); err != nil {
			return "", invalid("RedrivePolicy: " + err.Error())
		}
		dead := s.queues[path.Base(strings.ReplaceAll(q.redrive.Target, ":", "/"))]
		if dead == nil || dead.arn != q.redrive.Target || dead.fifo() != fifo {
			return "", invalid("RedrivePolicy: there is no such queue, or not of this kind: " + q.redrive.Target)
		}
		q.dead = dead
	}
	s.queues[name] = q
	return s.URL(name), nil
}

// afterDeletion is how long a name cannot be used again.
const afterDeletion = time.Minute

func (s *Queues) deleteQueue(in ofQueue) (nothing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err != nil {
		return nothing{}, err
	}
	name := path.Base(in.QueueURL)
	delete(s.queues, name)
	s.deleted[name] = time.Now()
	q.messages = nil
	q.changed()
	return nothing{}, nil
}

func (s *Queues) purgeQueue(in ofQueue) (nothing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err == nil {
		q.messages = nil
	}
	return nothing{}, err
}

type listQueuesInput struct {
	QueueNamePrefix string
	MaxResults      int // at most 1000; without it there is no NextToken either
	NextToken       string
}

type listQueuesOutput struct {
	QueueUrls []string `json:",omitempty"`
	NextToken string   `json:",omitempty"`
}

func (s *Queues) listQueues(in listQueuesInput) (out listQueuesOutput, err error) {
	limit := in.MaxResults
	if limit < 0 || limit > 1000 {
		return out, invalid("Invalid value for the parameter MaxResults.")
	}
	for _, name := range s.Names(in.QueueNamePrefix) {
		switch {
		case name <= in.NextToken:
		case len(out.QueueUrls) == 1000 || limit > 0 && len(out.QueueUrls) == limit:
			if limit > 0 {
				out.NextToken = path.Base(out.QueueUrls[len(out.QueueUrls)-1])
			}
			return out, nil
		default:
			out.QueueUrls = append(out.QueueUrls, s.URL(name))
		}
	}
	return out, nil
}

// Names returns the names of the queues that begin with the prefix, sorted.
func (s *Queues) Names(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.queues)), func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

type getQueueURLInput struct{ QueueName string }

func (s *Queues) getQueueURL(in getQueueURLInput) (ofQueue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.named(in.QueueName)
	return ofQueue{s.URL(in.QueueName)}, err
}

type getQueueAttributesInput struct {
	QueueURL       string `json:"QueueUrl"`
	AttributeNames []string
}

type getQueueAttributesOutput struct {
	Attributes map[string]string `json:",omitempty"`
}

func (s *Queues) getQueueAttributes(in getQueueAttributesInput) (out getQueueAttributesOutput, err error) {
	all, err := s.Attributes(in.QueueURL)
	return getQueueAttributesOutput{chosen(all, in.AttributeNames)}, err
}

// Attributes returns all attributes of the queue with the URL or name, such as
// ApproximateNumberOfMessages.
func (s *Queues) Attributes(url string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(url)
	if err != nil {
		return nil, err
	}
	return q.describe(time.Now()), nil
}
