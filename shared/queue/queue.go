// Package queue is the contract of message queues: messages sent before an
// acknowledgement are delivered at least once, after it, to the worker that the
// queue triggers.
package queue

import (
	"context"
	"time"
)

// MaxBody is the largest message in bytes, and MaxDelay the longest delay.
const (
	MaxBody  = 256 << 10
	MaxDelay = 15 * time.Minute
)

// Queue is a queue of the data model. It is also the trigger of a worker.
type Queue struct {
	Name string
	// FIFO queues deliver the messages of a group in the order they were sent,
	// one batch of a group at a time, and drop a message whose Dedup was seen in the
	// group in the last five minutes. What is seen in another group may be dropped
	// too: on AWS it is not.
	FIFO bool
}

// String names the queue as a trigger.
func (q *Queue) String() string { return q.Name + " queue" }

// The queues. There are two because each polled queue costs money when idle.
var (
	// Inbound holds events from other servers, grouped by room.
	Inbound = &Queue{Name: "inbound", FIFO: true}
	// Work holds everything else that is done later, typed by its body.
	Work = &Queue{Name: "work"}
)

// Queues lists all queues.
var Queues = []*Queue{Inbound, Work}

// Message is what is sent and delivered.
type Message struct {
	// Body is text, at most MaxBody bytes.
	Body string
	// Group and Dedup are for FIFO queues, which require both.
	Group, Dedup string
	// Delay postpones the delivery, at most MaxDelay. FIFO queues have none.
	Delay time.Duration
	// Attempt counts deliveries from 1; it is set on delivery.
	Attempt int
}

// Sender sends messages. It checks the grants in ctx.
type Sender interface {
	// Send returns once the message is durable.
	Send(ctx context.Context, q *Queue, m Message) error
}
