// Package rooms writes rooms: it makes events, authorises them, gives them their
// position, and tells those whom they concern.
//
// What it writes is defined in shared/timeline/rows.go and shared/userlog. Its
// own rows:
//
//   - users: TXN#user#device / hash {id, pos}: a client transaction id and the
//     event that it made, in the event's transaction; kept for TxnRetention.
//   - server: FAN#room / FAN: see timeline.Fan. Written by Dispatch and
//     SweepFanOut, on the conditions that done rises and that the state follows
//     from the one before.
//   - server: ROOMS#<shard> / room {at, m, v}: the index of rooms, written in the
//     transaction that opens the room. If a row were lost, no sweep would find
//     the room: changes that are lost would be told with the next one, and
//     garbage would stay. m is when its chunks were last marked, and v HEAD's
//     version then if no garbage was left, both written by SweepChunks; stale
//     ones cost another mark.
//   - server: SWEEP#name / PLACE {shard, after, v}: how far a sweep is in the
//     index. If it is lost or rolled back, some rooms are swept again.
//   - rooms: R#room / UPGRADE {to, by, rv, cr}: the last upgrade of the room, see
//     replacement.
//   - events: IX#room: the index of words, see timeline.WordIndex. Written after
//     fan-out.
//   - server: CREATING / room {at}: a room whose creation takes several
//     transactions, until the last one. The sweeper ends those that stay.
//
// An event exists when the transaction that moves HEAD is committed, and not
// before; the change of HEAD then drives fan-out until every active member's log
// has the position, or the sweep does where the change is lost. A kill between any
// two store calls leaves either no event, or an event whose deliveries are redone.
//
// Events of our own (append.go) follow the forward extremities and are allowed by
// the current state, or not made. Events of other servers (receive.go) may follow
// anything. Each has a state before it, resolved where several meet (resolve.go),
// and a state after it; the current state is that where the forward extremities
// meet. What is judged and not accepted is kept without a position, and judged
// again should it come again. What is older than what the room has (backfill.go)
// takes positions below it.
package rooms

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// Options are the parts that a Service is made of; all but the last are required.
type Options struct {
	DB         store.DB
	Clock      clock.Clock
	ServerName string
	Keys       *federation.Keys
	Accounts   *accounts.Service
	Directory  *directory.Service
	Push       *push.Service
	Timeline   *timeline.Service
	Log        *userlog.Service
	Queues     queue.Sender
	// ForgetOnLeave forgets rooms for users who leave them, or are made to.
	ForgetOnLeave bool
}

// Service is the rooms domain. It is safe for concurrent use.
type Service struct {
	Options
	// PullAbove is how many active local members make a room a pulled one (see
	// timeline.Fan). New sets it; tests set another before they use the service.
	PullAbove int

	locks [64]sync.Mutex

	receipts scheduled

	box     sync.Mutex
	letters map[string][]*letter // that wait for a room
	pushed  map[string]phones    // of pulled rooms
}

// New returns the service.
func New(o Options) *Service {
	return &Service{Options: o, PullAbove: pullAbove, letters: map[string][]*letter{}, pushed: map[string]phones{}}
}

// Writes is what an operation that makes an event uses; it is one set for all of
// them, since each ends in the same transaction.
var Writes = grant.Of(timeline.Reads, userlog.Appends, federation.Signs,
	grant.WriteTable("rooms", "events"))

// TxnRetention is how long a client transaction id is remembered.
const TxnRetention = 15 * 24 * time.Hour

// lock keeps the writers of this process from failing each other's conditions in
// a busy room. It is only a courtesy: what keeps the room right is the condition
// on HEAD's version.
func (s *Service) lock(room string) (unlock func()) {
	h := fnv.New32a()
	_, _ = io.WriteString(h, room)
	m := &s.locks[h.Sum32()%uint32(len(s.locks))]
	m.Lock()
	return m.Unlock
}

func (s *Service) isLocal(user string) bool { return id.Server(user) == s.ServerName }

// maxTries bounds how often an event is tried against a HEAD that moves.
const maxTries = 12

// stepAside is after how many tries a writer lets others go first. Those who
// meet at a HEAD all try again at once, and each round lets only one pass.
const stepAside = 3

// pause waits before another try, longer each time, with jitter so that two
// writers do not meet again.
func (s *Service) pause(ctx context.Context, try int) error {
	d := time.Duration(1+rand.IntN(4<<min(try, 6))) * time.Millisecond
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.Clock.After(d):
		return nil
	}
}

// clientError turns what the events packages say into what a client sees.
func clientError(err error) error {
	var rule *auth.Error
	switch {
	case errors.As(err, &rule):
		slog.Debug("event refused", "rule", rule.Rule)
		if rule.Malformed {
			return mxerr.BadJSON("This cannot be an event: %s.", rule.Message)
		}
		return mxerr.Forbidden("%s", rule.Message)
	case errors.Is(err, pdu.ErrTooLarge):
		return mxerr.TooLarge("The event is larger than Matrix allows: %v.", err)
	case errors.Is(err, pdu.ErrBadJSON), errors.Is(err, pdu.ErrBadEvent):
		return mxerr.BadJSON("This cannot be an event: %v.", err)
	}
	return err
}

// hide makes the error of an operation in a room that is not here that of a room
// that one is not in, so that strangers cannot tell which rooms there are.
func hide(err error, room string) error {
	var gone *unknownRoom
	if errors.As(err, &gone) {
		return notThere(gone.error, room)
	}
	return err
}

// notThere is hide for an error of Timeline.Head.
func notThere(err error, room string) error {
	if mxerr.Is(err, "M_NOT_FOUND") {
		return mxerr.Forbidden("You are not in the room %s.", room)
	}
	return err
}

var errBusy = mxerr.New(http.StatusServiceUnavailable, "M_LIMIT_EXCEEDED", "The room is very busy; try again in a moment.").
	With("retry_after_ms", int64(1000))
