package process

import (
	"context"

	"github.com/virga-im/virga/shared/wake"
)

// waiter ends all waits as if their time were up once the process is draining:
// a client that waits gets its empty answer while the stores are still open,
// and comes back to the next process.
type waiter struct {
	wake.Waiter
	draining context.Context
}

func (w waiter) Arm(ctx context.Context, wait wake.Wait) (wake.Ticket, error) {
	t, err := w.Waiter.Arm(ctx, wait)
	if err != nil {
		return nil, err
	}
	return ticket{t, w.draining}, nil
}

type ticket struct {
	wake.Ticket
	draining context.Context
}

func (t ticket) Hold(ctx context.Context) (wake.Outcome, error) {
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.draining, cancel)()
	out, err := t.Ticket.Hold(held)
	if err != nil && t.draining.Err() != nil && ctx.Err() == nil {
		return wake.Outcome{}, nil
	}
	return out, err
}
