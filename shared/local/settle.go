package local

import (
	"context"
	"sync"
)

// activity counts what may start or end background work, so that Settled can
// wait for it without polling.
type activity struct {
	mu      sync.Mutex
	count   uint64
	changed chan struct{}
}

func (a *activity) init() { a.changed = make(chan struct{}) }

func (a *activity) bump() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *activity) now() (uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count, a.changed
}

// Settled waits until every follower has handled all changes and every consumer
// all messages that are due, including what they caused meanwhile. Streams that
// nobody follows, queues that nobody consumes, dead letters, and messages whose
// Delay has not passed do not count.
func (l *Local) Settled(ctx context.Context) error {
	for {
		before, changed := l.activity.now()
		if l.idle() {
			if after, _ := l.activity.now(); after == before {
				return l.err()
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			return l.err()
		}
	}
}

func (l *Local) idle() bool {
	for _, s := range l.streams {
		if !s.settled() {
			return false
		}
	}
	for _, m := range l.queues {
		if !m.settled() {
			return false
		}
	}
	return true
}
