package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
)

// HoldInQueue returns the cheap way to wait on AWS: the client is sent to the
// gateway, which receives from a queue for it, and nothing runs that is paid by
// the second (the setting sync=sqs).
//
// A connection has four queues, a to d. Nobody but SQS knows whether a receive
// is still going on for a client that has given up, for as long as 20 s; that one
// would take the next message, and the client that came back would wait for
// nothing. So a mark in the store (see mark) says since when which queue is waited
// at, and the next request takes queues that are free for certain. Where there is
// none, it is held in the function: that happens to those who are woken more often
// than three or four times in 20 s, for whom the function is cheaper anyway.
//
// A client waits 20 s, though most ask for 30: SQS waits no longer. To go on to a
// second queue for the rest would save a little for those who hear nothing, and cost
// those who do a redirect, a call of the gateway and another message each time.
//
// No wake is lost: the mark is written before the request looks for the last time,
// and it is read after what is new was written. A message keeps in the queue until
// the client is there. A message that nobody received in time wakes the next one
// who waits there for nothing; it looks, and asks again.
//
// Queues are made when they are first needed, with names that follow from the
// access token, so nothing has to remember them; a new queue may not be there for a
// second, which is held in the function. A queue that has vanished (SQS may
// delete those that were idle for 30 days) lets its client come back at once, and
// is made again when all of its connection did. A client that never comes back
// from a queue, since it does not follow redirects, is held in the function for a
// day.
//
// It reads one row for each key that is woken, and reads and writes one for each
// hold and key.
func HoldInQueue(o Options, db store.DB, c clock.Clock, log *slog.Logger) wake.Service {
	return &hold{
		db: db, clock: c, log: log, prefix: o.Waits, here: polling{c, lookEvery}, settles: settles,
		client: lazily(o, func(cfg sdk.Config) *sqs.Client { return sqs.NewFromConfig(cfg) }),
	}
}

type hold struct {
	db      store.DB
	clock   clock.Clock
	log     *slog.Logger
	prefix  string // of the URLs of queues
	client  func() (*sqs.Client, error)
	here    wake.Service
	settles time.Duration

	mu    sync.Mutex
	woken map[string]time.Time // when the hold began that was woken last, by connection
	back  map[string]time.Time // when a client is known to have come back, by connection
}

const (
	// late is how long after it was sent a client may begin to wait, on a slow
	// network.
	late = 5 * time.Second
	// nearly is how much longer a client may be held than it wants to.
	nearly = 2 * time.Second
	// settles is after what time a new queue is there. SQS says a second.
	settles = 2 * time.Second
	// makesAgain is how often queues are made that seem to have vanished.
	makesAgain = 10 * time.Minute
	// checks is how often it is checked that a client comes back from where it is
	// sent, patience how often it may fail to, and hereFor how long it is held in
	// functions then.
	checks       = time.Hour
	checksBefore = checks - checks/6
	patience     = 3
	hereFor      = 24 * time.Hour
	// remembered bounds the connections that a process remembers.
	remembered = 10_000
)

// Arm implements wake.Waiter.
func (h *hold) Arm(ctx context.Context, w wake.Wait) (wake.Ticket, error) {
	elsewhere, err := h.place(ctx, w)
	switch {
	case err != nil:
		return nil, err
	case elsewhere == "":
		return h.here.Arm(ctx, w)
	}
	return sentTo(elsewhere), nil
}

// sentTo is the ticket of a client that waits there.
type sentTo string

// Hold implements wake.Ticket.
func (s sentTo) Hold(context.Context) (wake.Outcome, error) {
	return wake.Outcome{Elsewhere: string(s)}, nil
}

// Release implements wake.Ticket. The mark stays: it is about the queue.
func (sentTo) Release() {}

// place finds where the client waits, and marks it. It is empty for a client that
// is held here.
func (h *hold) place(ctx context.Context, w wake.Wait) (string, error) {
	now := h.clock.Now()
	left := w.Until.Sub(now)
	if w.Connection == "" || len(w.Keys) == 0 || left < places.Hold-nearly {
		return "", nil
	}
	m, err := h.mark(ctx, w.Keys[0], w.Connection)
	if err != nil {
		return "", err
	}
	before := m
	switch {
	case now.Before(m.here), !m.made.IsZero() && now.Sub(m.made) < h.settles:
		return "", nil
	case m.made.IsZero():
		if !h.make(ctx, w.Connection) {
			return "", nil
		}
		m.made = now
		if h.settles > 0 {
			return h.marked(ctx, w, m, before, "")
		}
	}
	if !m.begin(now) {
		if now.Sub(m.made) < makesAgain || !h.make(ctx, w.Connection) {
			return "", nil
		}
		m.made = now
		return h.marked(ctx, w, m, before, "")
	}
	if now.Sub(m.back) > checks {
		m.asked++
		if m.asked > patience {
			h.log.LogAttrs(ctx, slog.LevelInfo, "a client does not come back from its queue, and is held in functions",
				slog.String("connection", m.connection[:min(6, len(m.connection))]+"…"))
			m = before
			m.asked, m.here = 0, now.Add(hereFor)
			return h.marked(ctx, w, m, before, "")
		}
	}
	for _, key := range w.Keys[1:] {
		if err := h.point(ctx, key, m); err != nil {
			return "", err
		}
	}
	return h.marked(ctx, w, m, before, m.connection+"/"+m.queue)
}

// marked returns the place once the mark is written. Where another request of the
// connection was faster, this one is held here.
func (h *hold) marked(ctx context.Context, w wake.Wait, m, before mark, elsewhere string) (string, error) {
	err := h.write(ctx, w.Keys[0], m, before)
	if store.Failed(err) != nil || errors.Is(err, store.ErrConflict) {
		return "", nil
	}
	return elsewhere, err
}

// Wake implements wake.Waker. Whatever fails is logged: a wake is a hint, and its
// loss must not undo what was written before it.
func (h *hold) Wake(ctx context.Context, keys ...string) error {
	var waits []mark
	for _, key := range keys {
		found, err := h.waiting(ctx, key)
		if err != nil {
			h.lost(ctx, err)
		}
		waits = append(waits, found...)
	}
	var all sync.WaitGroup
	atOnce := make(chan struct{}, 16)
	for _, w := range waits {
		if !h.wakes(w) {
			continue
		}
		atOnce <- struct{}{}
		all.Go(func() {
			defer func() { <-atOnce }()
			if err := h.send(ctx, w.connection+w.queue); err != nil {
				h.forget(w)
				h.lost(ctx, err)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

func (h *hold) lost(ctx context.Context, err error) {
	level := slog.LevelError
	if errors.Is(err, store.ErrThrottled) || ctx.Err() != nil {
		level = slog.LevelWarn
	}
	h.log.LogAttrs(ctx, level, "a wake is lost", slog.String("err", err.Error()))
}

// wakes reports whether this process has not woken that hold yet. One wake is
// enough, however much is written: it ends the hold, and the client looks.
func (h *hold) wakes(w mark) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.woken[w.connection].Equal(w.since) {
		return false
	}
	if h.woken == nil || len(h.woken) > remembered {
		h.woken = map[string]time.Time{}
	}
	h.woken[w.connection] = w.since
	return true
}

func (h *hold) forget(w mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.woken, w.connection)
}

// send wakes who waits at the queue.
func (h *hold) send(ctx context.Context, queue string) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	_, err = client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: sdk.String(h.prefix + queue), MessageBody: sdk.String("wake")})
	var gone *types.QueueDoesNotExist
	if errors.As(err, &gone) {
		return nil // whoever was sent there is back already
	}
	if err != nil {
		return fmt.Errorf("wake: %w", err)
	}
	return nil
}

// make makes the queues of a connection, and reports whether they are there.
func (h *hold) make(ctx context.Context, connection string) bool {
	client, err := h.client()
	for _, queue := range places.Queues {
		if err == nil {
			_, err = client.CreateQueue(ctx, &sqs.CreateQueueInput{
				QueueName: sdk.String(h.prefix[strings.LastIndex(h.prefix, "/")+1:] + connection + string(queue)),
				Attributes: map[string]string{
					"MessageRetentionPeriod": fmt.Sprint(int(places.Retention.Seconds())),
					// A wake is for one receive, and never comes again.
					"VisibilityTimeout": fmt.Sprint(2 * int(places.Retention.Seconds())),
				},
			})
		}
	}
	if err != nil {
		h.log.LogAttrs(ctx, slog.LevelError, "no queue to wait at", slog.String("err", err.Error()))
	}
	return err == nil
}

// Returned implements wake.Returned. It reads and writes once an hour for each
// connection and process.
func (h *hold) Returned(ctx context.Context, place string, keys []string) error {
	now := h.clock.Now()
	h.mu.Lock()
	known := now.Sub(h.back[place]) < checksBefore
	h.mu.Unlock()
	if known || len(keys) == 0 {
		return nil
	}
	back, err := h.cameBack(ctx, keys[0], place, now)
	if err != nil || back.IsZero() {
		return err // a place where nobody was sent is not worth remembering
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.back == nil || len(h.back) > remembered {
		h.back = map[string]time.Time{}
	}
	h.back[place] = back
	return nil
}
