package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/virga-im/virga/shared/queue"
)

// The attributes of a message that carry what SQS cannot take in its place: a
// body with characters that XML has not, such as U+FFFE, which JSON may hold
// and which must not make an event of another server undeliverable; and a group
// that is too long or has other characters than SQS allows there.
//
// They need a little more room than queue.MaxBody, so the queues' limit must be
// above it (SQS allows 1 MiB, and that is its default).
const (
	bodyAttribute  = "body"
	groupAttribute = "group"
	bodyElsewhere  = "-" // the body that stands for an attribute
)

// sender implements queue.Sender on SQS.
type sender struct {
	urls   map[string]string
	client func() (*sqs.Client, error)
}

// NewSender returns the sender to the stack's queues. It connects on first use,
// and does not know queues whose URL is not in the options.
func NewSender(o Options) queue.Sender {
	return &sender{
		urls:   o.Queues,
		client: lazily(o, func(c sdk.Config) *sqs.Client { return sqs.NewFromConfig(c) }),
	}
}

// Send implements queue.Sender. A delay is rounded up to a second. A send whose
// answer was lost is repeated, so a standard queue may get a message twice.
func (s *sender) Send(ctx context.Context, q *queue.Queue, m queue.Message) error {
	url := s.urls[q.Name]
	if url == "" {
		return fmt.Errorf("send to %s: the environment has no %s: add the queue to the Uses", q, QueueEnv(q))
	}
	if err := checkMessage(q, m); err != nil {
		return fmt.Errorf("send to %s: %w", q, err)
	}
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &m.Body}
	if !isXML(m.Body) {
		in.MessageBody = sdk.String(bodyElsewhere)
		in.MessageAttributes = withBytes(in.MessageAttributes, bodyAttribute, m.Body)
	}
	if q.FIFO {
		in.MessageDeduplicationId = sdk.String(token(m.Dedup))
		in.MessageGroupId = sdk.String(token(m.Group))
		if *in.MessageGroupId != m.Group {
			in.MessageAttributes = withBytes(in.MessageAttributes, groupAttribute, m.Group)
		}
	} else if m.Delay > 0 {
		in.DelaySeconds = int32((m.Delay + time.Second - 1) / time.Second)
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	if _, err := client.SendMessage(ctx, in); err != nil {
		return fmt.Errorf("send to %s: %w", q, err)
	}
	return nil
}

func checkMessage(q *queue.Queue, m queue.Message) error {
	switch {
	case m.Body == "":
		return errors.New("the body is empty")
	case len(m.Body) > queue.MaxBody:
		return fmt.Errorf("a body of %d bytes; at most %d are sent", len(m.Body), queue.MaxBody)
	case !utf8.ValidString(m.Body):
		return errors.New("the body is not UTF-8")
	case m.Delay < 0 || m.Delay > queue.MaxDelay:
		return fmt.Errorf("a delay of %s; at most %s are possible", m.Delay, queue.MaxDelay)
	case q.FIFO && m.Delay != 0:
		return errors.New("a FIFO queue has no delays")
	case q.FIFO && (m.Group == "" || m.Dedup == ""):
		return errors.New("a FIFO queue needs Group and Dedup")
	case !q.FIFO && (m.Group != "" || m.Dedup != ""):
		return errors.New("only a FIFO queue has Group and Dedup")
	}
	return nil
}

// isXML reports whether XML has all the characters of a text in UTF-8.
func isXML(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	}) < 0
}

// token returns s if SQS takes it as a group or deduplication id (at most 128
// letters, digits and ASCII punctuation), and else its digest.
func token(s string) string {
	ok := len(s) <= 128
	for i := range len(s) {
		ok = ok && s[i] > ' ' && s[i] <= '~'
	}
	if ok {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func withBytes(a map[string]types.MessageAttributeValue, name, value string) map[string]types.MessageAttributeValue {
	if a == nil {
		a = map[string]types.MessageAttributeValue{}
	}
	a[name] = types.MessageAttributeValue{DataType: sdk.String("Binary"), BinaryValue: []byte(value)}
	return a
}
