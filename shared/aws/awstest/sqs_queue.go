package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// messageQueue is one queue. The mutex of its Queues guards it.
type messageQueue struct {
	arn        string
	attributes map[string]string
	created    time.Time
	usable     time.Time
	redrive    struct {
		Target string `json:"deadLetterTargetArn"`
		Most   int    `json:"maxReceiveCount"`
	}
	dead   *messageQueue // or nil
	handle func() string // returns a new part of a receipt handle

	messages []*sentMessage
	seen     map[string]seenMessage // by deduplication id, and group if that is the scope
	waiting  []*waitingReceive      // in the order in which they came
}

type sentMessage struct {
	event    events.SQSMessage
	group    string
	sent     time.Time
	visible  time.Time // when it is, or was, to be received next
	handle   string    // of the last receive
	receives int
}

type seenMessage struct {
	id    string
	until time.Time
}

// deduplication is how long a FIFO queue remembers what was sent.
const deduplication = 5 * time.Minute

func newMessageQueue(arn string, attributes map[string]string, handle func() string, now time.Time) *messageQueue {
	q := &messageQueue{arn: arn, attributes: maps.Clone(defaultAttributes), handle: handle, created: now, seen: map[string]seenMessage{}}
	maps.Copy(q.attributes, attributes)
	return q
}

func (q *messageQueue) fifo() bool { return q.attributes["FifoQueue"] == "true" }

func (q *messageQueue) seconds(attribute string) time.Duration {
	n, _ := strconv.Atoi(q.attributes[attribute]) // Create has checked it
	return time.Duration(n) * time.Second
}

// check refuses what SQS refuses.
func (q *messageQueue) check(in sendMessageInput) error {
	size := len(in.MessageBody)
	for name, a := range in.MessageAttributes {
		size += len(name) + len(a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			size += len(*a.StringValue)
		}
	}
	isToken := func(s string) bool {
		return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	}
	noXML := func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	}
	most, _ := strconv.Atoi(q.attributes["MaximumMessageSize"])
	byContent := q.attributes["ContentBasedDeduplication"] == "true" && in.MessageDeduplicationID == ""
	switch {
	case in.MessageBody == "" || size > most:
		return fmt.Errorf("a message of %d bytes", size)
	case strings.IndexFunc(in.MessageBody, noXML) >= 0:
		return errors.New("invalid characters in the message")
	case in.DelaySeconds < 0 || in.DelaySeconds > 900 || q.fifo() && in.DelaySeconds != 0:
		return fmt.Errorf("a delay of %d s", in.DelaySeconds)
	case q.fifo() && !(isToken(in.MessageGroupID) && (byContent || isToken(in.MessageDeduplicationID))):
		return errors.New("a FIFO message without group or deduplication id")
	case !q.fifo() && in.MessageDeduplicationID != "":
		return errors.New("a deduplication id on a standard queue")
	}
	return nil
}

// add appends a message, and returns its id, which is that of an earlier one if
// the two are the same to a FIFO queue.
func (q *messageQueue) add(id string, in sendMessageInput, now time.Time) string {
	if q.fifo() {
		if in.MessageDeduplicationID == "" {
			sum := sha256.Sum256([]byte(in.MessageBody))
			in.MessageDeduplicationID = hex.EncodeToString(sum[:])
		}
		key := in.MessageDeduplicationID
		if q.attributes["DeduplicationScope"] == "messageGroup" {
			key = in.MessageGroupID + " " + key
		}
		if before := q.seen[key]; now.Before(before.until) {
			return before.id
		}
		q.seen[key] = seenMessage{id, now.Add(deduplication)}
	}
	delay := time.Duration(in.DelaySeconds) * time.Second
	if delay == 0 {
		delay = q.seconds("DelaySeconds")
	}
	m := &sentMessage{group: in.MessageGroupID, sent: now, visible: now.Add(delay)}
	m.event = events.SQSMessage{
		MessageId: id, Body: in.MessageBody, Md5OfBody: digest(in.MessageBody),
		EventSource: "aws:sqs", EventSourceARN: q.arn, AWSRegion: strings.Split(q.arn, ":")[3],
		Attributes:        map[string]string{"SentTimestamp": fmt.Sprint(now.UnixMilli()), "SenderId": "AIDAIMITATION"},
		MessageAttributes: map[string]events.SQSMessageAttribute{},
	}
	if q.fifo() {
		m.event.Attributes["MessageGroupId"] = in.MessageGroupID
		m.event.Attributes["MessageDeduplicationId"] = in.MessageDeduplicationID
	}
	for name, a := range in.MessageAttributes {
		m.event.MessageAttributes[name] = events.SQSMessageAttribute{DataType: a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue}
	}
	q.messages = append(q.messages, m)
	q.changed()
	return id
}

// age drops what is too old to be kept.
func (q *messageQueue) age(now time.Time) {
	q.messages = slices.DeleteFunc(q.messages, func(m *sentMessage) bool { return now.Sub(m.sent) >= q.seconds("MessageRetentionPeriod") })
	maps.DeleteFunc(q.seen, func(_ string, m seenMessage) bool { return !now.Before(m.until) })
}

// collect takes up to n messages that can be received now, each of which can
// not be received again for the time of hidden. What was received too often goes
// to the queue of dead letters instead.
func (q *messageQueue) collect(now time.Time, n int, hidden time.Duration) (batch []*sentMessage) {
	q.age(now)
	held := map[string]bool{}
	for _, m := range slices.Clone(q.messages) {
		if len(batch) == n {
			break
		}
		if now.Before(m.visible) || q.fifo() && held[m.group] {
			held[m.group] = true
			continue
		}
		if q.dead != nil && m.receives >= q.redrive.Most {
			q.bury(m, now)
			continue
		}
		m.receives++
		m.visible, m.handle = now.Add(hidden), m.event.MessageId+"/"+q.handle()
		if m.receives == 1 {
			m.event.Attributes["ApproximateFirstReceiveTimestamp"] = fmt.Sprint(now.UnixMilli())
		}
		told := *m // a later receive must not change what this one got
		told.event.ReceiptHandle = m.handle
		told.event.Attributes = maps.Clone(m.event.Attributes)
		told.event.Attributes["ApproximateReceiveCount"] = fmt.Sprint(m.receives)
		batch = append(batch, &told)
	}
	return batch
}

// bury moves a message to the queue of dead letters. In a standard queue its age
// goes on to count.
func (q *messageQueue) bury(m *sentMessage, now time.Time) {
	q.messages = slices.DeleteFunc(q.messages, func(o *sentMessage) bool { return o == m })
	m.receives, m.visible = 0, now
	m.event.Attributes["DeadLetterQueueSourceArn"] = q.arn
	m.event.EventSourceARN = q.dead.arn
	if q.fifo() {
		m.sent = now
	}
	q.dead.messages = append(q.dead.messages, m)
	q.dead.changed()
}

func (q *messageQueue) remove(m *sentMessage) {
	q.messages = slices.DeleteFunc(q.messages, func(o *sentMessage) bool { return o == m })
	q.changed() // the group of a FIFO message may go on
}

// receipt returns the message of a receipt handle, or nil if there is none any
// more. Handles are message ids with the number of their receive.
func (q *messageQueue) receipt(handle string) (*sentMessage, error) {
	id, _, ok := strings.Cut(handle, "/")
	if !ok {
		return nil, &SQSError{"ReceiptHandleIsInvalid", "com.amazonaws.sqs#ReceiptHandleIsInvalid", "The input receipt handle is invalid."}
	}
	i := slices.IndexFunc(q.messages, func(m *sentMessage) bool { return m.event.MessageId == id })
	if i < 0 {
		return nil, nil
	}
	return q.messages[i], nil
}

// describe returns the attributes of the queue.
func (q *messageQueue) describe(now time.Time) map[string]string {
	visible, hidden, delayed := 0, 0, 0
	for _, m := range q.messages {
		switch {
		case !now.Before(m.visible):
			visible++
		case m.receives > 0:
			hidden++
		default:
			delayed++
		}
	}
	all := maps.Clone(q.attributes)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	maps.Copy(all, map[string]string{
		"QueueArn": q.arn, "CreatedTimestamp": fmt.Sprint(q.created.Unix()), "LastModifiedTimestamp": fmt.Sprint(q.created.Unix()),
		"ApproximateNumberOfMessages": fmt.Sprint(visible), "ApproximateNumberOfMessagesNotVisible": fmt.Sprint(hidden),
		"ApproximateNumberOfMessagesDelayed": fmt.Sprint(delayed),
	})
	return all
}
