// Package places says at which queues a request waits on AWS, and in which steps.
// The stack makes the gateway's part of it, and shared/aws sends clients there
// (see aws.HoldInQueue).
package places

import "time"

// The queues of a place, by the letters at the end of their names. A wait at two
// queues begins at First.
const (
	Queues = "abcd"
	First  = 0
)

const (
	// Long and Short are how long the gateway receives from the first and from the
	// second queue. SQS waits 20 s at most.
	Long  = 20 * time.Second
	Short = 10 * time.Second
	// Retention is how long a wake is kept for a client on its way to the queue. It
	// is the least that SQS allows.
	Retention = time.Minute
)

// A Step is a redirect on the way of a client that waits.
type Step struct {
	// Name is the end of the path. It begins with the letter of the queue, or with
	// an x before that.
	Name string
	// Seconds are how long the gateway receives from the queue.
	Seconds int
	// Next is the step after it, or "done", which is the route that the client came
	// from.
	Next string
}

// Steps lists where a client may wait: at "ab" for a long time at queue a, and
// then for a short one at queue b, where the step is "xb"; at "b" for a long time
// at queue b.
func Steps() (all []Step) {
	const long, short = int(Long / time.Second), int(Short / time.Second)
	for q := range len(Queues) {
		queue := Queues[q : q+1]
		all = append(all, Step{queue, long, "done"})
		if q != First {
			all = append(all, Step{Queues[First:First+1] + queue, long, "x" + queue}, Step{"x" + queue, short, "done"})
		}
	}
	return all
}
