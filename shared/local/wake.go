package local

import (
	"context"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/wake"
)

// waits are the armed tickets by key. They are in memory: who waits in this
// process is woken in this process.
type waits struct {
	mu    sync.Mutex
	armed map[string]map[*ticket]struct{}
}

type waker struct{ l *Local }

type ticket struct {
	l     *Local
	keys  []string
	until time.Time
	woken chan struct{}
	once  sync.Once
}

// Wake implements wake.Waker.
func (w waker) Wake(ctx context.Context, keys ...string) error {
	if err := grant.Check(ctx, grant.Wait, grant.Waits, grant.Wake); err != nil {
		return err
	}
	ws := &w.l.waits
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range keys {
		for t := range ws.armed[k] {
			t.once.Do(func() { close(t.woken) })
		}
	}
	return w.l.err()
}

// Arm implements wake.Waiter.
func (w waker) Arm(ctx context.Context, wait wake.Wait) (wake.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := grant.Check(ctx, grant.Wait, grant.Waits, grant.Hold); err != nil {
		return nil, err
	}
	if err := w.l.err(); err != nil {
		return nil, err
	}
	t := &ticket{l: w.l, keys: append([]string(nil), wait.Keys...), until: wait.Until, woken: make(chan struct{})}
	ws := &w.l.waits
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.armed == nil {
		ws.armed = map[string]map[*ticket]struct{}{}
	}
	for _, k := range t.keys {
		if ws.armed[k] == nil {
			ws.armed[k] = map[*ticket]struct{}{}
		}
		ws.armed[k][t] = struct{}{}
	}
	return t, nil
}

// Hold implements wake.Ticket. Closing the Local ends it as if the time was up.
func (t *ticket) Hold(ctx context.Context) (wake.Outcome, error) {
	select {
	case <-t.woken:
		return wake.Outcome{Woken: true}, nil
	default:
	}
	left := t.until.Sub(t.l.clock.Now())
	if left <= 0 {
		return wake.Outcome{}, nil
	}
	select {
	case <-t.woken:
		return wake.Outcome{Woken: true}, nil
	case <-t.l.clock.After(left):
		return wake.Outcome{}, nil
	case <-t.l.ended:
		return wake.Outcome{}, nil
	case <-ctx.Done():
		return wake.Outcome{}, ctx.Err()
	}
}

// Release implements wake.Ticket.
func (t *ticket) Release() {
	ws := &t.l.waits
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, k := range t.keys {
		delete(ws.armed[k], t)
		if len(ws.armed[k]) == 0 {
			delete(ws.armed, k)
		}
	}
}
