// Package places says at which queues a request waits on AWS, and how long. The
// stack makes the gateway's part of it, and shared/aws sends clients there (see
// aws.HoldInQueue).
package places

import "time"

const (
	// Queues are the letters at the end of the names of a place's queues, and of the
	// paths where a client waits at them.
	Queues = "abcd"
	// Hold is how long the gateway receives from a queue. It is the longest that SQS
	// waits.
	Hold = 20 * time.Second
	// Retention is how long a wake is kept for a client on its way to the queue. It
	// is the least that SQS allows.
	Retention = time.Minute
)
