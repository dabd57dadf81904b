// Package route declares what the server answers: a Route is one operation of
// the Matrix API, a Worker is one thing that runs behind it.
//
// A declaration is a plain value that many read: the Lambda program, the local
// mux, the CDK app, the OpenAPI body, the middleware and the tests. There is no
// registry and no second list.
package route

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
)

// Route declares one operation.
type Route struct {
	// Name is the operationId of the specification.
	Name string
	// Pattern is method and path as the specification writes them, which is also
	// the pattern of http.ServeMux and of the gateway.
	Pattern string
	// Also lists older and unstable spellings that answer the same.
	Also Also
	// Auth says who may call. The zero value is AccessToken; Public must be
	// written out.
	Auth Auth
	// Standing says who may call whose account is locked or suspended. The zero
	// value lets suspended users read: GET only.
	Standing Standing
	// Limit is the rate limit; zero means none.
	Limit Limit
	// Size is the memory and time of the function.
	Size Size
	// Unbounded says that nothing keeps an answer below what a function returns at
	// once (see Streams): not a limit of events, which have 64 KB each, nor the end of
	// a page. To bound the answer is better, where a client can ask for the rest.
	Unbounded bool
	// Uses is what the handler may touch, without what authentication needs.
	Uses grant.Set
	// Handler answers.
	Handler Handler
}

// Also is a list of further spellings of a route: paths, or whole patterns when
// the method differs. The element "r0" stands for the path with the version v3
// replaced by r0.
type Also []string

// R0 is the spelling of clients from before Matrix 1.1.
var R0 = Also{"r0"}

// And returns the spellings extended by more.
func (a Also) And(more ...string) Also { return append(a[:len(a):len(a)], more...) }

// Method and Path are the two halves of the pattern.
func (r Route) Method() string { m, _, _ := strings.Cut(r.Pattern, " "); return m }

// Path is the path of the pattern, with its parameters in braces.
func (r Route) Path() string { _, p, _ := strings.Cut(r.Pattern, " "); return p }

// Patterns returns the pattern and its further spellings, all in ServeMux's
// form: those of Also, and for a Poll the one that finishes a wait elsewhere. A
// path that ends in a slash matches only itself.
func (r Route) Patterns() []string {
	all := []string{exact(r.Pattern)}
	for _, a := range r.Also {
		switch {
		case a == "r0":
			p := strings.Replace(r.Pattern, "/v3/", "/r0/", 1)
			if p == r.Pattern {
				panic(fmt.Sprintf("route %s: r0 needs a v3 path, not %s", r.Name, r.Pattern))
			}
			all = append(all, exact(p))
		case strings.HasPrefix(a, "/"):
			all = append(all, exact(r.Method()+" "+a))
		default:
			all = append(all, exact(a))
		}
	}
	if r.Polls() {
		all = append(all, r.finish())
	}
	return all
}

// Streams reports whether the answers of the route reach clients piece by piece as
// they are written. On AWS that takes a way in of its own (see infra/aws), which
// bears 200 MB an answer, where others bear 6 MB. What waits goes that way too:
// its answers tell of many rooms, and no gateway is paid for the finished wait.
func (r Route) Streams() bool { return r.Unbounded || r.Polls() }

func exact(pattern string) string {
	if strings.HasSuffix(pattern, "/") {
		return pattern + "{$}"
	}
	return pattern
}

// Auth says who may call a route.
type Auth uint8

// The kinds of callers.
const (
	// AccessToken requires a valid access token.
	AccessToken Auth = iota
	// Optional accepts a request without an access token, but not with a bad one.
	Optional
	// Public ignores access tokens.
	Public
	// SharedSecret routes check a secret of their own.
	SharedSecret
)

// String names the kind as the coverage table prints it.
func (a Auth) String() string {
	return [...]string{"access token", "optional", "none", "shared secret"}[a]
}

// Standing says whom a route serves of those whose account an administrator has
// locked or suspended. What a suspended user may still do has to be written out, so
// that a route which nobody thought about is closed to them.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-moderation
type Standing uint8

// The standings that a route asks for.
const (
	// GoodStanding is for users in good standing, and for all to read.
	GoodStanding Standing = iota
	// SuspendedToo serves suspended users.
	SuspendedToo
	// LockedToo serves locked users, which is for logging out.
	LockedToo
)

// admits returns nil if the route serves the session's user as the account stands.
func (r Route) admits(s accounts.Session) error {
	switch {
	case s.Locked && r.Standing != LockedToo:
		return mxerr.UserLocked()
	case s.Suspended && r.Standing == GoodStanding && r.Method() != http.MethodGet:
		return mxerr.UserSuspended()
	}
	return nil
}

// Size is the memory and the longest run of a function. Memory also sets its
// share of a processor.
type Size uint8

// The sizes. The zero value suits a request that reads and writes a few rows.
const (
	Small Size = iota
	Large
	// Waiting is for requests that may idle up to 30 s.
	Waiting
	// Background is for workers.
	Background
)

// MemoryMB is the memory of a function of this size.
func (s Size) MemoryMB() int { return [...]int{256, 1024, 256, 512}[s] }

// Timeout is the longest run of a function of this size. HTTP APIs end a
// request after 30 s.
func (s Size) Timeout() time.Duration {
	return [...]time.Duration{15 * time.Second, 29 * time.Second, 29 * time.Second, 2 * time.Minute}[s]
}

// Worker declares something that runs behind the routes.
type Worker struct {
	// Name is in snake case, and unique among workers and routes.
	Name string
	// On is what starts it: a *queue.Queue, the Changes of a table, Every, or
	// Stack.
	On Trigger
	// Size is the memory and time of the function.
	Size Size
	// Unbounded says that nothing keeps an answer below what a function returns at
	// once (see Streams): not a limit of events, which have 64 KB each, nor the end of
	// a page. To bound the answer is better, where a client can ask for the rest.
	Unbounded bool
	// Uses is all that it may touch; workers start with no other grants.
	Uses grant.Set
	// Handler does the work. A worker On Stack has none.
	Handler WorkerHandler
}

// Trigger is what starts a worker. Its String is for tables and logs.
type Trigger interface{ String() string }

// Every is the trigger of a worker that runs in intervals, of a minute at
// least. A run may be skipped or doubled.
type Every time.Duration

// String tells the interval.
func (e Every) String() string { return "every " + time.Duration(e).String() }

// Life is the trigger of a worker that runs when the server itself is made,
// changed or deleted. What there is to do then is a matter of where the server
// runs and not of Matrix, so it is done by the program there.
type Life struct{}

// Stack is the life of a stack on AWS. Other servers never start such a worker.
var Stack Life

// String names the trigger.
func (Life) String() string { return "the stack" }
