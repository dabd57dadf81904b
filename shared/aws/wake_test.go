package aws

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/shared/wake/waketest"
)

func TestHoldInLambdaWaits(t *testing.T) {
	waketest.Run(t, func(t *testing.T) waketest.Harness {
		return waketest.Harness{Service: polling{clock.System{}, 250 * time.Millisecond}}
	})
}

func TestHoldInLambdaLooksEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ticket, err := HoldInLambda(clock.System{}).Arm(t.Context(), wake.Wait{Keys: []string{"key"}, Until: start.Add(2500 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		defer ticket.Release()
		for looks := 1; ; looks++ {
			o, err := ticket.Hold(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !o.Woken {
				if took := time.Since(start); looks != 3 || took != 2500*time.Millisecond {
					t.Errorf("the time was up after %d holds and %s", looks, took)
				}
				return
			}
		}
	})
}
