// Package clock tells the time and waits for it.
//
// Everything that needs the time takes a Clock, so that tests can own it. In
// production the clock is System; under testing/synctest System is virtual
// already, and no other implementation is needed there.
package clock

import "time"

// A Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current time in UTC.
	Now() time.Time
	// After returns a channel that receives once, after d.
	After(d time.Duration) <-chan time.Time
}

// System is the machine's clock.
type System struct{}

// Now returns the machine's time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// After is time.After.
func (System) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Millis returns t as Matrix writes timestamps: milliseconds since the Unix
// epoch.
func Millis(t time.Time) int64 { return t.UnixMilli() }
