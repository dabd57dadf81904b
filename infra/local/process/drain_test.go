package process

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/wake"
)

// A client that waits when the process ends gets the answer of a wait that was
// in vain, and not an error; a client that goes away gets none.
func TestDrainingEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := local.Open(local.NewMemory().Options())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		may := grant.With(t.Context(), t.Name(), grant.Of(grant.Wakes(), grant.Holds()), nil)
		draining, drain := context.WithCancel(may)
		w := waiter{db.Wake(), draining}
		hold := func(ctx context.Context) (woken bool, took time.Duration, err error) {
			begin := time.Now()
			ticket, err := w.Arm(ctx, wake.Wait{Keys: []string{"key"}, Until: begin.Add(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			defer ticket.Release()
			out, err := ticket.Hold(ctx)
			return out.Woken, time.Since(begin), err
		}

		time.AfterFunc(time.Second, func() { _ = db.Wake().Wake(may, "key") })
		if woken, took, err := hold(may); !woken || took != time.Second || err != nil {
			t.Errorf("a wake: %v after %s, %v", woken, took, err)
		}
		if woken, took, err := hold(may); woken || took != time.Minute || err != nil {
			t.Errorf("nothing: %v after %s, %v", woken, took, err)
		}
		gone, leave := context.WithCancel(may)
		time.AfterFunc(time.Second, leave)
		if _, _, err := hold(gone); err == nil {
			t.Error("a client that went away was answered")
		}
		time.AfterFunc(time.Second, drain)
		if woken, took, err := hold(may); woken || took != time.Second || err != nil {
			t.Errorf("draining: %v after %s, %v", woken, took, err)
		}
		if _, took, err := hold(may); took != 0 || err != nil {
			t.Errorf("after draining began: waited %s, %v", took, err)
		}
	})
}
