package meter

import (
	"sync/atomic"
	"time"
)

// A Clock tells the same time until it is stepped. Unless it jumps, it waits in
// real time.
type Clock struct {
	since *atomic.Int64 // nanoseconds
	jumps bool
}

func newClock() *Clock { return &Clock{since: new(atomic.Int64)} }

func (c *Clock) step(d time.Duration) { c.since.Add(int64(d)) }

// Now implements clock.Clock.
func (c *Clock) Now() time.Time {
	return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.since.Load()))
}

// After implements clock.Clock. A clock that jumps is then as much later at once.
func (c *Clock) After(d time.Duration) <-chan time.Time {
	if !c.jumps {
		return time.After(d)
	}
	c.step(d)
	now := make(chan time.Time, 1)
	now <- c.Now()
	return now
}
