package waketest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/virga-im/virga/shared/wake"
)

// Away stands in for a service that lets clients wait elsewhere, as a gateway
// with queues does it: whoever may is sent to a place of its own, where another
// service keeps the registration. Service is required.
type Away struct {
	wake.Service
	// Between, if set, is called before and after the wait in a place.
	Between func(step string)

	mu     sync.Mutex
	places map[string]wake.Ticket
}

// Arm implements wake.Waiter.
func (a *Away) Arm(ctx context.Context, w wake.Wait) (wake.Ticket, error) {
	t, err := a.Service.Arm(ctx, w)
	if err != nil || w.Connection == "" {
		return t, err
	}
	return &awayTicket{Ticket: t, a: a}, nil
}

type awayTicket struct {
	wake.Ticket
	a    *Away
	sent bool
}

// Hold implements wake.Ticket.
func (t *awayTicket) Hold(context.Context) (wake.Outcome, error) {
	place := rand.Text()
	t.a.mu.Lock()
	defer t.a.mu.Unlock()
	if t.a.places == nil {
		t.a.places = map[string]wake.Ticket{}
	}
	t.a.places[place], t.sent = t.Ticket, true
	return wake.Outcome{Elsewhere: place + "/wait"}, nil
}

// Release implements wake.Ticket.
func (t *awayTicket) Release() {
	if !t.sent {
		t.Ticket.Release()
	}
}

// Wait waits in a place, once.
func (a *Away) Wait(ctx context.Context, place string) (wake.Outcome, error) {
	place = strings.TrimSuffix(place, "/wait")
	a.mu.Lock()
	t := a.places[place]
	delete(a.places, place)
	a.mu.Unlock()
	if t == nil {
		return wake.Outcome{}, fmt.Errorf("nobody was sent to the place %q", place)
	}
	defer t.Release()
	return t.Hold(ctx)
}

// Waiting is how many were sent to places where they have not been.
func (a *Away) Waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.places)
}

// Handler answers where clients wait, and sends everybody else to the routes. It
// knows as little of the client as a gateway: whatever ends the wait, it sends
// the client on, by a location that is relative to where it waited.
func (a *Away) Handler(routes http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", routes)
	mux.HandleFunc("/hold/{route}/{ticket}/{place}/wait", func(w http.ResponseWriter, r *http.Request) {
		a.between("before the wait")
		_, _ = a.Wait(r.Context(), r.PathValue("place"))
		a.between("after the wait")
		w.Header().Set("Location", "done")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	return mux
}

func (a *Away) between(step string) {
	if a.Between != nil {
		a.Between(step)
	}
}
