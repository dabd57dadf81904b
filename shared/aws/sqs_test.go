package aws_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/queue/queuetest"
)

// The queue contract, from the sender through the imitation of SQS and Lambda's
// event to the worker.
func TestSQSIsAQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		queues := awstest.SQS(t)
		return queuetest.Harness{
			Sender: aws.NewSender(queues.Options()),
			Consume: func(ctx context.Context, q *queue.Queue, handle func(context.Context, []queue.Message) error) error {
				return queues.Consume(ctx, q, aws.Messages(slog.New(slog.DiscardHandler), func(ctx context.Context, m queue.Message) error {
					return handle(ctx, []queue.Message{m})
				}))
			},
		}
	})
}

func TestMessagesThatSQSCannotTakeAreDelivered(t *testing.T) {
	long := "!" + strings.Repeat("r", 250) + ":example.org"
	for name, m := range map[string]queue.Message{
		"a body that is no XML":      {Body: "{\"body\":\"\uFFFE\uFFFF\x7f\"}", Group: "!room:example.org", Dedup: "d"},
		"a long group":               {Body: "x", Group: long, Dedup: "d"},
		"a group that is not ASCII":  {Body: "x", Group: "!räum", Dedup: "d"},
		"a group that is no XML":     {Body: "\x00", Group: "\x00", Dedup: "d"},
		"a deduplication with space": {Body: "x", Group: "g", Dedup: "d d"},
	} {
		t.Run(name, func(t *testing.T) {
			queues := awstest.SQS(t)
			if err := aws.NewSender(queues.Options()).Send(t.Context(), queue.Inbound, m); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var got queue.Message
			_ = queues.Consume(ctx, queue.Inbound, aws.Messages(slog.New(slog.DiscardHandler), func(_ context.Context, m queue.Message) error {
				got = m
				cancel()
				return nil
			}))
			if got.Body != m.Body || got.Group != m.Group || got.Attempt != 1 {
				t.Errorf("got %+v, want %+v", got, m)
			}
		})
	}
}

func TestQueueWithoutURLIsNamed(t *testing.T) {
	err := aws.NewSender(aws.Options{}).Send(t.Context(), queue.Work, queue.Message{Body: "x"})
	if err == nil || !strings.Contains(err.Error(), "VIRGA_QUEUE_WORK") {
		t.Errorf("got %v", err)
	}
}
