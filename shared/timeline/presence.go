package timeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// The presence of a user is one row of the users table, U#user / LOG~presence, at
// most some 1.5 KB, kept for good. It says until when which device claims what, and
// when the user was active; what follows from that is worked out by whoever reads
// it, so that nothing has to be written when time passes. Each write is conditional
// on the version that was read.
//
// A device that syncs claims to be there until some time after it will sync again,
// and renews that about once a minute. If other devices claim as much for as long,
// it claims nothing.
//
// Others learn of a change by an entry of their logs that names the user (see
// TellPresence), and read the row then. The row says what they were told last, so
// telling is done at least once, by tasks of the work queue. Before a row is
// written, a task is sent for each time at which what follows from it changes by
// itself, and after it one more if there is something to tell at once; if the
// latter is lost, the former tell it. If the row is lost, its user is offline until
// one of the devices speaks.
const (
	// connectedFor is how long after the end of its /sync a device is there at
	// least.
	connectedFor = 30 * time.Second
	// renewAfter is how long a claim is good beyond that, and so how often it is
	// written; activity is written as often.
	renewAfter = time.Minute
	// idleAfter is how long after the last activity a user is not active any more.
	idleAfter = 5 * time.Minute
	// maxPoll is the longest /sync that a claim counts with.
	maxPoll = time.Minute
	// maxClaims is how many devices claim something. Those whose claims end first
	// are left out.
	maxClaims = 10
	// maxStatus is the longest status message, in bytes.
	maxStatus = 512
	// presenceTries bounds how often a write is tried that others are faster with:
	// presence that is not written is no harm.
	presenceTries = 8
)

// The states of presence.
const (
	Online      = "online"
	Unavailable = "unavailable"
	Offline     = "offline"
)

// SetsPresence is what SetPresence and Acted use, and ShowsPresence what Presence
// does.
var (
	SetsPresence  = grant.Of(grant.ReadTable("users"), grant.WriteTable("users"), grant.SendTo("work"))
	ShowsPresence = grant.ReadTable("users")
)

type presenceRow struct {
	Version int64 `db:"v"`
	// On and Idle are until when devices, by claimant, claim to be online and
	// unavailable, in milliseconds.
	On   map[string]int64 `db:"on,omitempty"`
	Idle map[string]int64 `db:"id,omitempty"`
	// Active is when the user was active, in milliseconds.
	Active int64  `db:"a,omitempty"`
	Status string `db:"st,omitempty"`
	// Told is what others were told last, and Paid until when the user has used up
	// being told of.
	Told string `db:"td,omitempty"`
	Paid int64  `db:"pd,omitempty"`
}

func decodePresence(it store.Item) (r presenceRow, err error) {
	if it.Exists() {
		err = store.Decode(it, &r)
	}
	return r, err
}

// claimant is a device in a row.
func claimant(device string) string {
	sum := sha256.Sum256([]byte(device))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

func latest(claims map[string]int64) (until int64) {
	for _, t := range claims {
		until = max(until, t)
	}
	return until
}

// state is what the user is at a time.
func (r *presenceRow) state(now time.Time) string {
	ms := clock.Millis(now)
	switch {
	case latest(r.On) > ms && r.idleAt() > ms:
		return Online
	case max(latest(r.On), latest(r.Idle)) > ms:
		return Unavailable
	}
	return Offline
}

func (r *presenceRow) idleAt() int64 { return r.Active + idleAfter.Milliseconds() }

// turns are the times at which state may change by itself.
func (r *presenceRow) turns() []int64 {
	on := latest(r.On)
	if on == 0 {
		return []int64{latest(r.Idle)}
	}
	all := []int64{on, max(on, latest(r.Idle)), r.idleAt()}
	slices.Sort(all)
	return slices.Compact(all)
}

// telling is what others are to be told at a time, in short.
func (r *presenceRow) telling(now time.Time) string {
	sum := sha256.Sum256([]byte(r.Status))
	return r.state(now) + " " + base64.RawURLEncoding.EncodeToString(sum[:6])
}

// clone is the row with claims of its own, without those that are over.
func (r presenceRow) clone(now time.Time) presenceRow {
	over := func(_ string, until int64) bool { return until <= clock.Millis(now) }
	r.On, r.Idle = maps.Clone(r.On), maps.Clone(r.Idle)
	maps.DeleteFunc(r.On, over)
	maps.DeleteFunc(r.Idle, over)
	return r
}

// claim lets the device claim a state, and nothing else.
func (r *presenceRow) claim(device, state string, until int64) {
	delete(r.On, device)
	delete(r.Idle, device)
	claims := &r.On
	switch state {
	case Offline:
		return
	case Unavailable:
		claims = &r.Idle
	}
	if *claims == nil {
		*claims = map[string]int64{}
	}
	(*claims)[device] = until
	for len(*claims) > maxClaims {
		first := slices.MinFunc(slices.Collect(maps.Keys(*claims)), func(a, b string) int { return cmp.Compare((*claims)[a], (*claims)[b]) })
		delete(*claims, first)
	}
}

// synced is the row after a look of a device that says to be in a state, and
// looks again by then. It reports false if that says nothing new.
func (r presenceRow) synced(device, state string, now, again time.Time) (presenceRow, bool) {
	next := r.clone(now)
	needed := clock.Millis(again.Add(connectedFor))
	on, idle := next.On[device], next.Idle[device]
	covered := latest(next.On)
	if state == Unavailable {
		covered = max(covered, latest(next.Idle))
	}
	switch {
	case state == Offline:
		next.claim(device, Offline, 0)
		return next, on+idle != 0
	case covered >= needed && (state == Online && idle == 0 || state == Unavailable && on == 0):
		return r, false
	case state == Online && (idle != 0 || latest(next.On) == 0):
		next.Active = clock.Millis(now) // somebody came to the device
	}
	next.claim(device, state, needed+renewAfter.Milliseconds())
	return next, true
}

// set is the row after the user has said so from a device.
func (r presenceRow) set(device, state, status string, now time.Time) (presenceRow, bool) {
	next := r.clone(now)
	if state == Offline {
		status = ""
	} else {
		next.Active = clock.Millis(now)
	}
	next.Status = status
	next.claim(device, state, clock.Millis(now.Add(maxPoll+connectedFor+renewAfter)))
	same := r.telling(now) == next.telling(now) && (r.On[device] != 0) == (next.On[device] != 0) && (r.Idle[device] != 0) == (next.Idle[device] != 0)
	return next, !same || next.Active-r.Active >= renewAfter.Milliseconds() && state != Offline
}

// acted is the row after the user did something on a device. Who is offline stays
// so.
func (r presenceRow) acted(device string, now time.Time) (presenceRow, bool) {
	state := r.state(now)
	if state == Offline || state == Online && clock.Millis(now)-r.Active < renewAfter.Milliseconds() {
		return r, false
	}
	next := r.clone(now)
	next.Active = clock.Millis(now)
	if latest(next.On) == 0 {
		next.claim(device, Online, latest(next.Idle))
	}
	return next, true
}

// SetPresence says what the user is, with a status message, as of a device. Without
// presence it does nothing but check.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
func (s *Service) SetPresence(ctx context.Context, v Viewer, state, status string) error {
	switch state {
	case Online, Unavailable, Offline:
	default:
		return mxerr.InvalidParam("presence is online, offline or unavailable, not %q.", state)
	}
	if len(status) > maxStatus {
		return mxerr.InvalidParam("status_msg has more than %d bytes.", maxStatus)
	}
	if !s.presence {
		return nil
	}
	s.acts.forget(v.User)
	it, err := s.presenceOf(ctx, v.User)
	if err != nil {
		return err
	}
	return s.changePresence(ctx, v.User, it, func(r presenceRow, now time.Time) (presenceRow, bool) {
		return r.set(claimant(v.Device), state, status, now)
	})
}

// Acted says that the user did something that shows to be there. It costs at most
// a read and a write in a minute. That it cannot be written is no reason for what
// the user did to fail.
//
// https://spec.matrix.org/v1.19/client-server-api/#last-active-ago
func (s *Service) Acted(ctx context.Context, user, device string) {
	if !s.presence || !s.acts.begin(user, s.Clock.Now()) {
		return
	}
	it, err := s.presenceOf(ctx, user)
	if err == nil && it.Exists() {
		err = s.changePresence(ctx, user, it, func(r presenceRow, now time.Time) (presenceRow, bool) {
			return r.acted(claimant(device), now)
		})
	}
	presenceLost(ctx, user, err)
}

// synced lets a device that looks say what its user is, given the row as it was
// read beside the log. That it cannot be written is no reason to tell it nothing.
func (s *Service) synced(ctx context.Context, v Viewer, state string, timeout time.Duration, it store.Item) {
	if !s.presence || state == "" {
		return
	}
	device, wait := claimant(v.Device), min(max(timeout, 0), maxPoll)
	err := s.changePresence(ctx, v.User, it, func(r presenceRow, now time.Time) (presenceRow, bool) {
		next, changed := r.synced(device, state, now, now.Add(wait))
		if changed {
			s.acts.forget(v.User)
		}
		return next, changed
	})
	presenceLost(ctx, v.User, err)
}

func presenceLost(ctx context.Context, user string, err error) {
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "presence not written", "user_id", user, "err", err.Error())
	}
}

// changePresence changes a row, given as it was read. A store that is too busy is
// left alone.
func (s *Service) changePresence(ctx context.Context, user string, it store.Item, change func(presenceRow, time.Time) (presenceRow, bool)) error {
	for range presenceTries {
		was, err := decodePresence(it)
		if err != nil {
			return err
		}
		now := s.Clock.Now()
		next, changed := change(was, now)
		if !changed {
			return nil
		}
		for _, at := range next.turns() {
			if in := time.UnixMilli(at).Sub(now); in > 0 && !slices.Contains(was.turns(), at) {
				if err := s.tellPresenceIn(ctx, user, in); err != nil {
					return err
				}
			}
		}
		failed, err := s.writePresence(ctx, user, it, next)
		switch {
		case failed != nil:
			it = *failed
			continue
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrThrottled):
			return nil
		case err != nil:
			return err
		case next.telling(now) != was.Told:
			return s.tellPresenceIn(ctx, user, 0)
		}
		return nil
	}
	return nil
}

// writePresence writes the row in place of the one that was read, and returns that
// as it is if somebody else was faster.
func (s *Service) writePresence(ctx context.Context, user string, was store.Item, next presenceRow) (*store.Item, error) {
	next.Version = was.Int("v") + 1
	w := store.Put(store.Users, userlog.PresenceKey(user), store.Encode(next))
	if was.Exists() {
		w = w.If(store.Equal("v", was.Int("v")))
	} else {
		w = w.If(store.NotExists())
	}
	_, err := s.DB.Write(ctx, w)
	if f := store.Failed(err); f != nil {
		it := f.Failed[0]
		return &it, nil
	}
	if err != nil {
		return nil, fmt.Errorf("write presence of %s: %w", user, err)
	}
	return nil, nil
}

func (s *Service) presenceOf(ctx context.Context, user string) (store.Item, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: userlog.PresenceKey(user)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return store.Item{}, nil
	}
	if err != nil {
		return store.Item{}, fmt.Errorf("read presence of %s: %w", user, err)
	}
	return it, nil
}

// acts remembers who acted in the last minute. Each process remembers its own.
type acts struct {
	mu sync.Mutex
	at map[string]time.Time
}

// maxActs bounds the memory.
const maxActs = 10_000

// begin reports whether the user has not acted for a while.
func (a *acts) begin(user string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.at[user]; ok && now.Sub(at) < renewAfter {
		return false
	}
	if a.at == nil || len(a.at) >= maxActs {
		a.at = map[string]time.Time{}
	}
	a.at[user] = now
	return true
}

func (a *acts) forget(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.at, user)
}
