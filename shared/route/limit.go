package route

import (
	"sync"
	"time"

	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/mxerr"
)

// Limit names a rate limit: a bucket for each user, or for each address where
// there is no user yet. Buckets live in the memory of the process, which bounds
// a client well enough and costs nothing; registration and failed logins are
// also counted in the store, by accounts.
type Limit uint8

// The limits.
const (
	NoLimit Limit = iota
	// LimitRequest is for requests that are cheap but not free.
	LimitRequest
	// LimitMessage is for sending events, and for searches, which cost as much.
	LimitMessage
	// LimitJoin is for joining and creating rooms, and for inviting.
	LimitJoin
	// LimitAddress is for cheap requests without a user, by address.
	LimitAddress
	// LimitLogin is by address.
	LimitLogin
	// LimitRegister is by address.
	LimitRegister
)

// rate is what the administrator allows.
func (ls *Limits) rate(l Limit) config.Rate {
	switch r := &ls.Rates; l {
	case LimitMessage:
		return r.Message
	case LimitJoin:
		return r.Join
	case LimitAddress:
		return r.Address
	case LimitLogin:
		return r.Login
	case LimitRegister:
		return r.Registration
	default:
		return r.Request
	}
}

func (l Limit) perAddress() bool { return l >= LimitAddress }

// Weighed is a request that counts against a limit of users, besides the limit of
// its route, for what it asks for.
type Weighed interface {
	// Weighs returns the limit and how many times it counts.
	Weighs() (l Limit, times int)
}

// weigh counts a request that is Weighed.
func (rt *Runtime) weigh(req any, c Caller) error {
	w, ok := req.(Weighed)
	if !ok || rt.Limits == nil {
		return nil
	}
	l, n := w.Weighs()
	return rt.Limits.take(l, c.UserID, n, rt.Clock.Now())
}

// maxPolls is how many requests of a user may wait at once, one for each device
// and some to spare. All of them are answered anew when something happens.
const maxPolls = 100

// Limits holds the buckets, and counts who waits. Without Rates it lets nothing
// pass that is limited.
type Limits struct {
	Rates config.Rates

	mu      sync.Mutex
	buckets map[bucketKey]*bucket
	swept   time.Time
	polls   map[string]int
}

type bucketKey struct {
	limit Limit
	who   string
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take counts n requests at once. They pass if one would; whoever asks for more than
// there is at once waits longer for the next.
func (ls *Limits) take(l Limit, who string, n int, now time.Time) error {
	if l == NoLimit || n == 0 {
		return nil
	}
	r := ls.rate(l)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.buckets == nil {
		ls.buckets = map[bucketKey]*bucket{}
	}
	if now.Sub(ls.swept) > time.Minute {
		// A bucket that has refilled says nothing; forgetting it bounds what
		// strangers can make us hold.
		for k, b := range ls.buckets {
			if full := ls.rate(k.limit); b.tokens+now.Sub(b.at).Seconds()*full.PerSecond >= full.Burst {
				delete(ls.buckets, k)
			}
		}
		ls.swept = now
	}
	k := bucketKey{l, who}
	b := ls.buckets[k]
	if b == nil {
		b = &bucket{tokens: r.Burst, at: now}
		ls.buckets[k] = b
	}
	b.tokens = min(r.Burst, b.tokens+now.Sub(b.at).Seconds()*r.PerSecond)
	b.at = now
	if b.tokens < 1 {
		return mxerr.LimitExceeded(time.Duration((1 - b.tokens) / r.PerSecond * float64(time.Second)))
	}
	b.tokens -= float64(n)
	return nil
}

// wait counts one more request that waits, until done is called.
func (ls *Limits) wait(who string) (done func(), err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.polls == nil {
		ls.polls = map[string]int{}
	}
	if ls.polls[who] >= maxPolls {
		return nil, mxerr.LimitExceeded(time.Second)
	}
	ls.polls[who]++
	return func() {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if ls.polls[who]--; ls.polls[who] == 0 {
			delete(ls.polls, who)
		}
	}, nil
}
