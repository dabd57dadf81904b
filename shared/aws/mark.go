package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/store"
)

// A mark is the row of a connection that waits, or did, in the users table:
//
//	W#<key> / <connection>   ≤ 150 bytes
//
// Requests that wait write it (Arm), on condition that no other request of the
// connection did since it was read; who wakes the key reads all of the key. The
// row of the first key has everything, those of further keys (rooms that are
// pulled) only the queue and since when.
//
// If a mark is lost, the client waits until its time is up, and is told of what is
// new then. If it is stale, a queue gets a message for nobody. It may be rolled
// back: it is about the next half minute. It goes two days after the last hold.
type mark struct {
	connection string
	// queue is where the client was sent last, at since.
	queue string
	since time.Time
	// busy is until when a receive may be going on at each of the queues.
	busy [len(places.Queues)]time.Time
	// made is when the queues were made.
	made time.Time
	// back is when the client was last known to have come back, asked how often
	// it was sent away after that and an hour, and here until when it is not.
	back  time.Time
	asked int64
	here  time.Time
}

// marksLast is how long a mark is kept after it was written.
const marksLast = 48 * time.Hour

// begin begins a hold at the queue that was left for longest, if it is free.
func (m *mark) begin(now time.Time) bool {
	q := 0
	for other := range m.busy {
		if m.busy[other].Before(m.busy[q]) {
			q = other
		}
	}
	if m.busy[q].After(now) {
		return false
	}
	m.queue, m.since, m.busy[q] = places.Queues[q:q+1], now, now.Add(places.Hold+late)
	return true
}

// waits reports whether the client may be waiting, or be on its way.
func (m *mark) waits(now time.Time) bool {
	return m.queue != "" && now.Sub(m.since) < places.Hold+2*late
}

func markKey(key, connection string) store.Key { return store.Key{Part: "W#" + key, Sort: connection} }

// The attributes of a mark; the letters of queues are until when they are busy.
// Times are milliseconds since the epoch.
const (
	markQueue, markSince = "k", "t"
	markMade             = "m"
	markBack, markAsked  = "r", "n"
	markHere             = "h"
)

func readMark(it store.Item) mark {
	at := func(name string) time.Time {
		if ms := it.Int(name); ms != 0 {
			return time.UnixMilli(ms)
		}
		return time.Time{}
	}
	m := mark{
		connection: it.Key.Sort, queue: it.Str(markQueue), since: at(markSince),
		made: at(markMade), back: at(markBack), asked: it.Int(markAsked), here: at(markHere),
	}
	for q := range m.busy {
		m.busy[q] = at(places.Queues[q : q+1])
	}
	return m
}

func (m *mark) attrs() store.Attrs {
	attrs := store.Attrs{markAsked: m.asked}
	if m.queue != "" {
		attrs[markQueue] = m.queue
	}
	set := func(name string, t time.Time) {
		if !t.IsZero() {
			attrs[name] = t.UnixMilli()
		}
	}
	set(markSince, m.since)
	set(markMade, m.made)
	set(markBack, m.back)
	set(markHere, m.here)
	for q, t := range m.busy {
		set(places.Queues[q:q+1], t)
	}
	return attrs
}

// mark reads the mark of a connection, which is empty if there is none.
func (h *hold) mark(ctx context.Context, key, connection string) (mark, error) {
	it, err := h.db.Get(ctx, store.Ref{Table: store.Users, Key: markKey(key, connection)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return mark{connection: connection}, nil
	}
	if err != nil {
		return mark{}, fmt.Errorf("who waits: %w", err)
	}
	return readMark(it), nil
}

// write replaces the mark if it is still what it was before.
func (h *hold) write(ctx context.Context, key string, m, before mark) error {
	w := store.Put(store.Users, markKey(key, m.connection), m.attrs()).Until(h.clock.Now().Add(marksLast))
	switch {
	case before.made.IsZero():
		w = w.If(store.NotExists())
	case before.since.IsZero():
		w = w.If(store.Absent(markSince), store.Equal(markMade, before.made.UnixMilli()))
	default:
		w = w.If(store.Equal(markSince, before.since.UnixMilli()), store.Equal(markMade, before.made.UnixMilli()))
	}
	_, err := h.db.Write(ctx, w)
	return err
}

// point marks the connection under a further key.
func (h *hold) point(ctx context.Context, key string, m mark) error {
	short := mark{queue: m.queue, since: m.since}
	_, err := h.db.Write(ctx, store.Put(store.Users, markKey(key, m.connection), short.attrs()).Until(h.clock.Now().Add(marksLast)))
	return err
}

// waiting reads who may wait for the key now.
func (h *hold) waiting(ctx context.Context, key string) (all []mark, err error) {
	q := store.Query{Table: store.Users, Part: markKey(key, "").Part, Consistency: store.Consistent}
	for {
		page, err := h.db.Query(ctx, q)
		if err != nil {
			return all, fmt.Errorf("who waits: %w", err)
		}
		now := h.clock.Now()
		for _, it := range page.Items {
			if m := readMark(it); m.waits(now) {
				all = append(all, m)
			}
		}
		if page.Next == "" {
			return all, nil
		}
		q.After = page.Next
	}
}

// cameBack notes that the client came back from where it was sent, unless that was
// noted lately. It returns when it was known to have come back last.
func (h *hold) cameBack(ctx context.Context, key, connection string, now time.Time) (time.Time, error) {
	m, err := h.mark(ctx, key, connection)
	if err != nil || m.made.IsZero() || m.asked == 0 && now.Sub(m.back) < checksBefore {
		return m.back, err
	}
	_, err = h.db.Write(ctx, store.Update(store.Users, markKey(key, connection)).
		Set(markBack, now.UnixMilli()).Set(markAsked, int64(0)).If(store.Present(markMade)))
	if store.Failed(err) != nil {
		return m.back, nil
	}
	return now, err
}
