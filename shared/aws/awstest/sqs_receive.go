package awstest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// waitingReceive is a receive that has no messages yet.
type waitingReceive struct {
	most   int
	hidden time.Duration
	batch  []*sentMessage
	got    chan struct{} // is closed when there is a batch
}

// changed gives what can be received to the receives that wait, the first first.
func (q *messageQueue) changed() {
	now := time.Now()
	for _, w := range slices.Clone(q.waiting) {
		if w.batch = q.collect(now, w.most, w.hidden); len(w.batch) == 0 {
			return
		}
		q.leave(w)
		close(w.got)
	}
}

func (q *messageQueue) leave(w *waitingReceive) {
	q.waiting = slices.DeleteFunc(q.waiting, func(o *waitingReceive) bool { return o == w })
}

// next returns when a message that is hidden now can be received, or nothing.
func (q *messageQueue) next(now time.Time) (at time.Time) {
	for _, m := range q.messages {
		if now.Before(m.visible) && (at.IsZero() || m.visible.Before(at)) {
			at = m.visible
		}
	}
	return at
}

// take receives messages: those that are there, or else the first that come
// within the waiting time. It does not know a context, since SQS does not see
// that a client is gone.
func (s *Queues) take(in Receive) ([]*sentMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.named(in.QueueURL)
	if err != nil {
		return nil, err
	}
	number := func(name string, given *int, least, most, otherwise int) int {
		n := otherwise
		if given != nil {
			n = *given
		}
		if n < least || n > most {
			err = cmp.Or(err, invalid(fmt.Sprintf("Value %d for parameter %s is invalid. Reason: Must be between %d and %d, if provided.", n, name, least, most)))
		}
		return n
	}
	w := &waitingReceive{got: make(chan struct{})}
	w.most = number("MaxNumberOfMessages", in.MaxNumberOfMessages, 1, 10, 1)
	wait := number("WaitTimeSeconds", in.WaitTimeSeconds, 0, 20, int(q.seconds("ReceiveMessageWaitTimeSeconds")/time.Second))
	w.hidden = time.Duration(number("VisibilityTimeout", in.VisibilityTimeout, 0, 43200, int(q.seconds("VisibilityTimeout")/time.Second))) * time.Second
	if err != nil {
		return nil, err
	}
	q.waiting = append(q.waiting, w)
	defer q.leave(w)
	q.changed()
	end := time.Now().Add(time.Duration(wait) * time.Second)
	for now := time.Now(); len(w.batch) == 0 && now.Before(end); now = time.Now() {
		until := end
		if next := q.next(now); !next.IsZero() && next.Before(until) {
			until = next
		}
		if !s.sleep(w, until.Sub(now)) {
			break
		}
		if len(w.batch) == 0 {
			q.changed()
		}
	}
	return w.batch, nil
}

// sleep waits for a time, or until there is a batch, without the lock. It reports
// whether the queues are still open.
func (s *Queues) sleep(w *waitingReceive, d time.Duration) bool {
	s.mu.Unlock()
	defer s.mu.Lock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.got:
	case <-s.closed:
		return false
	}
	return true
}
