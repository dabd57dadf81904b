package awstest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/queue"
)

// A Delivery is an event source mapping: how Lambda hands the messages of a queue
// to a function.
type Delivery struct {
	Queue     string // its name or URL
	BatchSize int    // at most 10; nothing means 10
	// Concurrency is how many batches are with the function at once; nothing means
	// two. A FIFO queue has one batch of a group with the function at a time.
	Concurrency int
	// ReportItemFailures is ReportBatchItemFailures: only the messages that the
	// function names come again. Without it, all of the batch do if the function
	// fails.
	ReportItemFailures bool
	// Again is how soon a failed message comes again, instead of minutes later,
	// after the visibility timeout of the queue.
	Again time.Duration
	// May is asked before each receive, if it is set, and an error of it is that of
	// the delivery: the place to check the role of the function.
	May func() error
}

// comesAgain is how soon a failed message comes again to Consume.
const comesAgain = 50 * time.Millisecond

// Consume delivers what is sent to a queue of SQS until ctx ends, in batches of ten,
// two at a time.
func (s *Queues) Consume(ctx context.Context, q *queue.Queue, function aws.Invocation) error {
	return s.Deliver(ctx, Delivery{Queue: s.URLs[q.Name], ReportItemFailures: true, Again: comesAgain}, function)
}

// Deliver invokes a function with what is sent to the queue until ctx ends, as
// Lambda does, and returns the error of ctx or of d.May. What the function does
// not report as failed is deleted; a function that fails as a whole gets its batch
// again.
func (s *Queues) Deliver(ctx context.Context, d Delivery, function aws.Invocation) error {
	if d.Concurrency == 0 {
		d.Concurrency = 2
	}
	if d.BatchSize == 0 {
		d.BatchSize = 10
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for range d.Concurrency {
		wg.Go(func() {
			for ctx.Err() == nil {
				if delivered, err := s.deliver(ctx, d, function); err != nil {
					stop(err)
				} else if !delivered {
					select {
					case <-time.After(2 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// deliver delivers one batch, if there is one. It does not wait for messages as
// Lambda does, which would be waiting still when ctx ends.
func (s *Queues) deliver(ctx context.Context, d Delivery, function aws.Invocation) (delivered bool, err error) {
	if d.May != nil {
		if err := d.May(); err != nil {
			return false, err
		}
	}
	none := 0
	batch, err := s.take(Receive{QueueURL: d.Queue, MaxNumberOfMessages: &d.BatchSize, WaitTimeSeconds: &none})
	if err != nil || len(batch) == 0 {
		return false, err
	}
	var event events.SQSEvent
	for _, m := range batch {
		event.Records = append(event.Records, m.event)
	}
	payload, err := json.Marshal(event)
	if err == nil {
		payload, err = function(ctx, payload)
	}
	failed := d.failures(batch, payload, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(d.Queue)
	if err != nil {
		return true, err
	}
	for _, told := range batch {
		m, err := q.receipt(told.event.ReceiptHandle)
		switch {
		case err != nil || m == nil || m.handle != told.handle: // it was received again meanwhile
		case !failed(told.event.MessageId):
			q.remove(m)
		case d.Again > 0:
			m.visible = time.Now().Add(d.Again)
		}
	}
	return true, nil
}

// failures reads which messages an invocation failed for. As on AWS, an answer
// that cannot be read, or names a message that is not in the batch, is a failure
// of all.
func (d Delivery) failures(batch []*sentMessage, payload []byte, err error) func(id string) bool {
	all := func(string) bool { return true }
	if err != nil {
		return all
	}
	var named []string
	if d.ReportItemFailures && len(payload) > 0 {
		var answer events.SQSEventResponse
		if json.Unmarshal(payload, &answer) != nil {
			return all
		}
		for _, f := range answer.BatchItemFailures {
			if !slices.ContainsFunc(batch, func(m *sentMessage) bool { return m.event.MessageId == f.ItemIdentifier }) {
				return all
			}
			named = append(named, f.ItemIdentifier)
		}
	}
	return func(id string) bool { return slices.Contains(named, id) }
}
