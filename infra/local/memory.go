package main

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// restEvery is how long a server without requests keeps memory that it needed
// for a moment, such as the tens of megabytes of a password's hash.
const restEvery = 10 * time.Second

// thrifty counts the requests, and gives memory back to the system whenever
// there were some and then none for a while. Go itself would keep it for minutes.
func thrifty(ctx context.Context, h http.Handler) http.Handler {
	var requests atomic.Uint64
	go func() {
		tick := time.NewTicker(restEvery)
		defer tick.Stop()
		var seen, given uint64
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if n := requests.Load(); n != seen {
				seen = n
			} else if n != given {
				given = n
				debug.FreeOSMemory()
			}
		}
	}()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		h.ServeHTTP(w, r)
	})
}
