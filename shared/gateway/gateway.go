// Package gateway sends notifications to push gateways, which bring them to phones.
//
// The user's log is the outbox: each of its entries says which events notify the
// user. A task of the work queue is only a hint that there is something to send;
// what there is to send is the distance between a pusher's Sent row and the end of
// the log. So a notification is sent at least once whoever dies in between, and
// gateways and apps drop what they are sent twice by its event_id, as the
// specification has them do. One worker at a time sends for a pusher, in order.
//
// https://spec.matrix.org/v1.19/push-gateway-api/
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// Service is the gateway domain.
type Service struct {
	Clock    clock.Clock
	Log      *userlog.Service
	Push     *push.Service
	Timeline *timeline.Service
	Queues   queue.Sender
	// Client makes the requests. Users name their addresses.
	Client *http.Client
}

const (
	// lease is longer than a request takes, and renew how much of it is used before
	// another one.
	lease = 20 * time.Second
	renew = 3 * time.Second
	// wide is for how many users notifications are sent at a time.
	wide = 8
	// maxEntries is how many entries of a log are looked at at once, and maxSends how
	// many notifications are sent of them: after a time without a gateway, the latest.
	maxEntries = 500
	maxSends   = 50
	// clocksDiffer is by how much the clocks of two workers may differ: the task that
	// comes when a gateway is to be asked again must not find itself too early, since
	// there is no other.
	clocksDiffer = 5 * time.Second
	// firstRetry is the time until a gateway that did not answer is asked again; it
	// doubles up to lastRetry. After patience what was to be sent is given up.
	firstRetry = 10 * time.Second
	lastRetry  = queue.MaxDelay
	patience   = 24 * time.Hour
)

// Delivers is what Deliver uses.
var Delivers = grant.Of(timeline.CountsUnread, userlog.Appends, push.SetsPushers, grant.SendTo("work"))

// Deliver sends users what there is to send. With badge it also sends how much they
// have not read, if there is nothing else. A gateway that does not answer is no
// error: it is asked again by a task of its own.
func (s *Service) Deliver(ctx context.Context, users []string, badge bool) error {
	var wg sync.WaitGroup
	errs := make([]error, len(users))
	slots := make(chan struct{}, wide)
	for i, user := range users {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = s.deliver(ctx, user, badge)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Service) deliver(ctx context.Context, user string, badge bool) error {
	h, err := s.Log.Head(ctx, user)
	if err != nil || h.Pushers == 0 {
		return err
	}
	pushers, err := s.Push.Pushers(ctx, user)
	if err != nil {
		return err
	}
	if len(pushers) == 0 {
		return s.Log.NoPushers(ctx, user, h)
	}
	run := &run{s: s, user: user, badge: badge}
	var wg sync.WaitGroup
	errs := make([]error, len(pushers))
	for i, p := range pushers {
		wg.Go(func() { errs[i] = run.all(ctx, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// run sends what there is for one user.
type run struct {
	s     *Service
	user  string
	badge bool

	mu     sync.Mutex
	unread *int
}

// all sends by one pusher until there is nothing left.
func (r *run) all(ctx context.Context, p push.Pusher) error {
	target, ok := targetOf(p)
	if !ok {
		return nil
	}
	badge := r.badge
	for {
		sent, ok, err := r.s.Push.Take(ctx, r.user, p, lease)
		if err != nil {
			return err
		}
		if !ok {
			return r.watch(ctx, p, sent)
		}
		sent.Badge = sent.Badge || badge
		if soon := clock.Millis(r.s.Clock.Now().Add(clocksDiffer)); sent.Next > soon {
			return r.s.Push.Release(ctx, r.user, p, sent) // a task will come then
		}
		gone, err := r.some(ctx, target, &sent)
		if errors.Is(err, errTaken) {
			return nil // it goes on there
		}
		if gone {
			slog.InfoContext(ctx, "pushkey rejected", "user_id", r.user, "app_id", p.AppID)
			return r.s.Push.DeletePusher(ctx, r.user, p.AppID, p.PushKey)
		}
		if err != nil {
			if later := r.failed(ctx, p, &sent, err); later != nil {
				return later
			}
			return r.s.Push.Release(ctx, r.user, p, sent)
		}
		badge = false
		r.recount()
		sent.Badge = false
		sent.Failing, sent.Failures, sent.Next = 0, 0, 0
		if err := r.s.Push.Release(ctx, r.user, p, sent); err != nil {
			return err
		}
		// Whoever found the pusher taken left what there was to this one.
		page, err := r.s.Log.After(ctx, r.user, sent.N, maxEntries)
		if err != nil || !slices.ContainsFunc(page.Entries, func(e userlog.Entry) bool { return len(e.Notes) > 0 }) {
			return err
		}
	}
}

// watch sees to it that somebody comes after the lease of another worker, who may
// be dead. One task does for all who find the pusher taken: a slow gateway does not
// gather them.
func (r *run) watch(ctx context.Context, p push.Pusher, sent push.Sent) error {
	if sent.Watched(r.badge) {
		return nil
	}
	if err := r.s.later(ctx, r.user, r.badge, time.UnixMilli(sent.Lease).Sub(r.s.Clock.Now())+renew); err != nil {
		return err
	}
	return r.s.Push.Watch(ctx, r.user, p, sent, r.badge)
}

// some sends what the log has beyond what was sent, and notes how far it came. It
// reports gone if the gateway does not want the pushkey any more.
func (r *run) some(ctx context.Context, t *target, sent *push.Sent) (gone bool, err error) {
	sent.N = max(sent.N, t.Since)
	page, err := r.s.Log.After(ctx, r.user, sent.N, maxEntries)
	if err != nil {
		return false, err
	}
	list, err := r.notifications(ctx, page)
	if err != nil {
		return false, err
	}
	for i, n := range list {
		unread, err := r.count(ctx)
		if err != nil {
			return false, err
		}
		if err := r.keep(ctx, t, sent); err != nil {
			return false, err
		}
		if gone, err := r.s.post(ctx, t, t.message(r.user, n, unread)); gone || err != nil {
			return gone, err
		}
		if sent.N, sent.Badge = n.entry, false; i+1 < len(list) && list[i+1].entry == n.entry {
			sent.N-- // there is more of it
		}
	}
	sent.N = max(sent.N, page.Head.N)
	if !sent.Badge || t.noBadge {
		return false, nil
	}
	unread, err := r.count(ctx)
	if err != nil {
		return false, err
	}
	return r.s.post(ctx, t, t.counts(unread))
}

// errTaken ends a run whose pusher another one has.
var errTaken = errors.New("the pusher is taken")

// keep sees to it that the lease lasts for a request.
func (r *run) keep(ctx context.Context, t *target, sent *push.Sent) error {
	if clock.Millis(r.s.Clock.Now().Add(lease-renew)) < sent.Lease {
		return nil
	}
	ok, err := r.s.Push.Keep(ctx, r.user, t.Pusher, sent, lease)
	if err == nil && !ok {
		err = errTaken
	}
	return err
}

// failed puts a pusher off whose gateway did not answer.
func (r *run) failed(ctx context.Context, p push.Pusher, sent *push.Sent, cause error) error {
	var refused *refusal
	if !errors.As(cause, &refused) {
		return cause // the store's, or of a run that was ended: the task comes again
	}
	now := r.s.Clock.Now()
	wait := min(firstRetry<<min(sent.Failures, 10), lastRetry)
	sent.Failures++
	if sent.Failing == 0 {
		sent.Failing = clock.Millis(now)
	}
	if now.Sub(time.UnixMilli(sent.Failing)) > patience {
		h, err := r.s.Log.Head(ctx, r.user)
		if err != nil {
			return err
		}
		sent.N, sent.Failing = h.N, 0
	}
	slog.InfoContext(ctx, "push gateway failed", "user_id", r.user, "app_id", p.AppID, "failures", sent.Failures, "err", cause)
	sent.Next = clock.Millis(now.Add(wait))
	return r.s.later(ctx, r.user, r.badge, wait)
}

// later delivers to a user after a delay.
func (s *Service) later(ctx context.Context, user string, badge bool, delay time.Duration) error {
	body, err := json.Marshal(rooms.Task{Kind: rooms.PushTask, Users: []string{user}, Badge: badge})
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	if err := s.Queues.Send(ctx, queue.Work, queue.Message{Body: string(body), Delay: max(delay, 0)}); err != nil {
		return fmt.Errorf("put off a push: %w", err)
	}
	return nil
}
