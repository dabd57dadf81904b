// Package wake is the contract of waiting: a request that found nothing waits
// until somebody who wrote something wakes it, or until its time is up.
//
// The protocol is store-then-check on both sides, so that no wake is lost: the
// waiter arms, then reads the store; the waker writes the store, then wakes.
// A wake carries no content; the woken one reads again.
package wake

import (
	"context"
	"time"
)

// Waker wakes those who wait. Waking nobody is cheap and no error.
type Waker interface {
	// Wake ends the wait of everybody who is armed for any of the keys. It is
	// called after the write that they wait for is durable. Losing a wake delays
	// a client until its hold ends and loses nothing.
	Wake(ctx context.Context, keys ...string) error
}

// Waiter lets requests wait.
type Waiter interface {
	// Arm registers the caller under the keys until the given time at the
	// latest. Wakes from now on end the Hold of the ticket, also those that
	// happen before Hold begins.
	Arm(ctx context.Context, keys []string, until time.Time) (Ticket, error)
}

// Ticket is an armed wait. It is used by one goroutine.
type Ticket interface {
	// Hold waits until a wake, the end of the time, or the end of ctx. Where the
	// request has to wait somewhere else, it returns at once with Elsewhere.
	Hold(ctx context.Context) (Outcome, error)
	// Release ends the registration. It is called exactly once, also after Hold.
	Release()
}

// Outcome says how a Hold ended.
type Outcome struct {
	// Elsewhere is the relative URL where the client is sent to wait (307), or
	// empty when the wait is over.
	Elsewhere string
	// Woken is false when the time was up.
	Woken bool
}

// Service is both sides.
type Service interface {
	Waker
	Waiter
}
