// Package checks looks at a running server from outside, as two people who use it
// would, and tells of each thing whether it is as it must be, and what to do if not.
//
// It is for what stands between clients and the server as much as for the server:
// whatever decodes paths, keeps answers, cuts or adds headers is found here. So it
// speaks plain HTTP and shares no code with the server.
package checks

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options say where to look. URL is required.
type Options struct {
	// URL is where clients reach the server, without a slash at its end.
	URL string
	// PublicURL is the address that the server tells, where that cannot be reached: for
	// tests. Otherwise it is looked for.
	PublicURL string
	// Direct are addresses behind the front door, which must refuse.
	Direct []string
	// Token is a registration token, SharedSecret that of /_synapse/admin/v1/register,
	// and Accounts two accounts that there are. Without any, registration must be open.
	Token, SharedSecret string
	Accounts            []Account
	// Idle is how long a client waits that hears nothing; zero is 30 s, what clients ask for.
	Idle time.Duration
	// Wake is how soon a client that waits is to hear; zero is 5 s.
	Wake time.Duration
}

// Account is one that there is already.
type Account struct{ Name, Password string }

// place is what the server seems to run on.
type place string

const (
	onAWS   place = "behind CloudFront"
	gateway place = "behind an HTTP API, without CloudFront"
	plain   place = "neither behind CloudFront nor behind an HTTP API"
)

// suite is one run of all checks.
type suite struct {
	Options
	client *http.Client // follows no redirect
	where  place
	run    string // in all names that this run makes

	mu      sync.Mutex
	out     io.Writer
	counted map[verdict]int
}

type verdict string

const (
	fine    verdict = "ok"
	skipped verdict = "skip"
	bad     verdict = "FAILED"
)

// ErrFailed means that something is not as it must be; what is was written.
type ErrFailed int

func (n ErrFailed) Error() string {
	return fmt.Sprintf("%d checks failed: see FAILED above", int(n))
}

// Run makes all checks and writes a line for each. Its error is ErrFailed if
// one of them failed.
func Run(ctx context.Context, o Options, out io.Writer) error {
	if o.Idle == 0 {
		o.Idle = 30 * time.Second
	}
	if o.Wake == 0 {
		o.Wake = 5 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // it is looked at as it comes
	transport.MaxIdleConnsPerHost = parallel
	defer transport.CloseIdleConnections()
	s := &suite{
		Options: o, out: out, counted: map[verdict]int{}, run: strings.ToLower(rand.Text()[:10]),
		client: &http.Client{
			Transport: transport, Timeout: o.Idle + time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	began := time.Now()
	s.all(ctx)
	fmt.Fprintf(out, "%d ok, %d skipped, %d failed, in %s\n", s.counted[fine], s.counted[skipped], s.counted[bad], time.Since(began).Round(100*time.Millisecond))
	if n := s.counted[bad]; n > 0 {
		return ErrFailed(n)
	}
	return nil
}

func (s *suite) all(ctx context.Context) {
	if !s.versions(ctx) {
		return // nobody is there
	}
	s.wellKnown(ctx)
	s.preflight(ctx)
	s.head(ctx)
	s.unknown(ctx)
	s.direct(ctx)
	alice, bob, ok := s.people(ctx)
	if !ok {
		return
	}
	defer s.goodbye(context.WithoutCancel(ctx), alice, bob)
	s.headers(ctx, alice)
	room, ok := s.talk(ctx, alice, bob)
	if !ok {
		return
	}
	s.names(ctx, alice, room)
	s.spellings(ctx, alice)
	s.queries(ctx, alice, room)
	s.lengths(ctx, alice)
	s.separate(ctx, alice, bob)
	s.errorsAreNotKept(ctx, alice, room)
	if !s.woken(ctx, alice, bob, room) {
		s.tell(skipped, "idle wait", "those who are not woken need not wait", "")
		return
	}
	var together sync.WaitGroup // so that it is a minute
	together.Go(func() { s.loggedOut(ctx, bob) })
	together.Go(func() { s.idle(ctx, alice) })
	together.Wait()
	s.large(ctx, alice)
}

// tell writes the line of a check.
func (s *suite) tell(v verdict, check, found, do string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted[v]++
	fmt.Fprintf(s.out, "%-6s %-20s %s\n", v, check, found)
	if do != "" && v == bad {
		fmt.Fprintf(s.out, "%27s → %s\n", "", do)
	}
}

// judge tells ok if there is no error.
func (s *suite) judge(check, found, do string, err error) bool {
	if err != nil {
		s.tell(bad, check, err.Error(), do)
		return false
	}
	s.tell(fine, check, found, "")
	return true
}
