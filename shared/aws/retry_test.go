package aws

import (
	"testing"
	"time"
)

// Those who wait for the same thing do not come again together, and nobody waits for
// a second because of one lost connection.
func TestRepetitionsWaitAPartOfASecond(t *testing.T) {
	r := newRetryer()
	for attempt, most := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond, 9: time.Second} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d, err := r.RetryDelay(attempt, nil)
			if err != nil || d < 0 || d >= most {
				t.Fatalf("attempt %d waits %s, %v; want less than %s", attempt, d, err, most)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("attempt %d has %d different delays", attempt, len(seen))
		}
	}
}
