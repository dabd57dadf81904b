package rehearsal

import (
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"
)

// TestTheFirstSyncWithEveryFunctionCold says what somebody meets who logs in when
// nobody was there for a while: each request starts a function. How long that takes
// here is no time of AWS, and is logged alone.
func TestTheFirstSyncWithEveryFunctionCold(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Once: true, Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}})
	p := register(t, s, "alice")
	p.do(t, 200, "POST", "/_matrix/client/v3/createRoom", `{"preset":"public_chat"}`)
	settle(t, s)
	s.Restart(false)
	before, began := s.Functions(), time.Now()
	nobody := &person{s: s}
	nobody.do(t, 200, "GET", "/_matrix/client/versions", "")
	nobody.do(t, 200, "GET", "/_matrix/client/v3/login", "")
	phone := p.again(t)
	phone.do(t, 200, "GET", "/_matrix/client/v3/pushrules/", "")
	phone.do(t, 200, "POST", "/_matrix/client/v3/user/"+url.PathEscape("@alice:"+ServerName)+"/filter", "{}")
	phone.do(t, 200, "GET", "/_matrix/client/v3/sync", "")
	took, requests := time.Since(began), 6
	runs, inits, gbSeconds := 0, 0, 0.0
	after := s.Functions()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		a, b := after[name], before[name]
		n := a.Invocations - b.Invocations
		if n == 0 {
			continue
		}
		billed := a.Init - b.Init + a.Run - b.Run
		runs, inits = runs+n, inits+a.Inits-b.Inits
		gbSeconds += billed.Seconds() * float64(a.MemoryMB) / 1024
		t.Logf("%-50s %d run, %d start, %6.1f ms billed, of which %5.1f ms INIT, %d MB", name, n, a.Inits-b.Inits,
			float64(billed.Microseconds())/1000, float64((a.Init-b.Init).Microseconds())/1000, a.MemoryMB)
	}
	t.Logf("%d requests, %d functions that start cold, %s on this machine, %.4f GB-seconds", requests, inits, took.Round(time.Millisecond), gbSeconds)
	if runs != requests || inits != requests {
		t.Errorf("%d requests are %d runs, of which %d start cold", requests, runs, inits)
	}
}
