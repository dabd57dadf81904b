package aws

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/wake"
)

// lookEvery is how often a held request looks again.
const lookEvery = time.Second

// toAnswer is what is left of a function's time after a hold, to look and answer.
const toAnswer = 4 * time.Second

// HoldInLambda returns the simple way to wait on AWS: the function itself waits
// and looks about once a second (the setting sync=lambda). Nobody is told who
// waits, so Wake does nothing, and a Hold ends as woken after each second, which
// the contract allows since a wake is only a hint: the caller looks and holds
// again. A writer's news comes a second late at most.
//
// A function has to answer before its own time is over, so a hold ends a little
// before that.
//
// It costs the run time of the function for as long as the client waits, and the
// reads of each look.
func HoldInLambda(c clock.Clock) wake.Service { return polling{c, lookEvery} }

type polling struct {
	clock clock.Clock
	every time.Duration
}

// Wake implements wake.Waker.
func (polling) Wake(context.Context, ...string) error { return nil }

// Arm implements wake.Waiter.
func (p polling) Arm(ctx context.Context, w wake.Wait) (wake.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	until := w.Until
	if end, ok := ctx.Deadline(); ok && end.Add(-toAnswer).Before(until) {
		until = end.Add(-toAnswer)
	}
	return pollTicket{p, until}, nil
}

type pollTicket struct {
	polling
	until time.Time
}

// Hold implements wake.Ticket.
func (t pollTicket) Hold(ctx context.Context) (wake.Outcome, error) {
	left := t.until.Sub(t.clock.Now())
	if left <= 0 {
		return wake.Outcome{}, nil
	}
	select {
	case <-t.clock.After(min(left, t.every)):
		return wake.Outcome{Woken: left > t.every}, nil
	case <-ctx.Done():
		return wake.Outcome{}, ctx.Err()
	}
}

// Release implements wake.Ticket.
func (pollTicket) Release() {}
