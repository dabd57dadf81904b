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
	// Arm registers the caller. Wakes from now on end the Hold of the ticket, or
	// the wait in the place where it sends the client, also those that happen
	// before that begins.
	Arm(ctx context.Context, w Wait) (Ticket, error)
}

// Wait says who wants to wait, and for what.
type Wait struct {
	// Keys are what the caller is woken under.
	Keys []string
	// Until is when the wait ends at the latest.
	Until time.Time
	// Connection tells the connections of a device apart, in lower-case letters
	// and digits, at most 40, that no stranger can guess: a request of a
	// connection comes when the one before it is over, or was given up. It is
	// empty if the client cannot be sent anywhere, which keeps the wait in the
	// Hold.
	Connection string
}

// Returned is implemented by a Waiter that wants to know which clients came back
// from where it sent them.
type Returned interface {
	// Returned is told that a client is back from the place, where it waited for
	// the keys.
	Returned(ctx context.Context, place string, keys []string) error
}

// Ticket is an armed wait. It is used by one goroutine.
type Ticket interface {
	// Hold waits until a wake, the end of the time, or the end of ctx. Where the
	// client has to wait somewhere else, it returns at once with Elsewhere.
	Hold(ctx context.Context) (Outcome, error)
	// Release ends the registration, except that of a client which was sent
	// elsewhere: its place keeps it until its wait is over. It is called exactly
	// once, also after Hold.
	Release()
}

// Outcome says how a Hold ended.
type Outcome struct {
	// Elsewhere is where the client is sent to wait: the place, in letters,
	// digits, '-' and '_', a slash, and the first step there. It is empty when the
	// wait is over, and always for a wait without a Connection.
	Elsewhere string
	// Woken is false when the time was up.
	Woken bool
}

// Service is both sides.
type Service interface {
	Waker
	Waiter
}
