package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
// pulled) only the step and since when.
//
// If a mark is lost, the client waits until its time is up, and is told of what is
// new then. If it is stale, a queue gets a message for nobody. It may be rolled
// back: it is about the next half minute. It goes two days after the last hold.
type mark struct {
	connection string
	// step is where the client was sent last, at since.
	step  string
	since time.Time
	// busy is until when a receive may be going on at each of the queues, but for the
	// second half of the last step (see settle).
	busy [len(places.Queues)]time.Time
	// made is when the queues were made.
	made time.Time
	// back is when the client was last known to have come back, asked how often
	// it was sent away after that and an hour, and here until when it is not.
	back  time.Time
	asked int64
	here  time.Time
}

// second is the queue of the second half of a step, if it has one.
func (m *mark) second() (queue int, ok bool) {
	if len(m.step) != 2 {
		return 0, false
	}
	return strings.Index(places.Queues, m.step[1:]), true
}

// marksLast is how long a mark is kept after it was written.
const marksLast = 48 * time.Hour

// settle counts the second half of the step that was begun last. A message that was
// left in the first queue may have sent the client there before its time.
func (m *mark) settle(now time.Time) {
	q, ok := m.second()
	if !ok {
		return
	}
	begun := m.since.Add(places.Long)
	if now.Before(begun) {
		begun = now
	}
	m.busy[q] = begun.Add(places.Short + late)
}

// begin begins a hold at queues that are free, if there are any.
func (m *mark) begin(now time.Time, left time.Duration) bool {
	m.settle(now)
	var free []int // the one that was used last is the last
	for q := range m.busy {
		if !m.busy[q].After(now) {
			free = append(free, q)
		}
	}
	slices.SortStableFunc(free, func(p, q int) int { return m.busy[p].Compare(m.busy[q]) })
	if len(free) == 0 {
		return false
	}
	q := free[0]
	m.step = places.Queues[q : q+1]
	if left >= places.Long+places.Short-nearly && slices.Contains(free, places.First) && len(free) > 1 {
		if q == places.First {
			q = free[1]
		}
		m.step, q = places.Queues[:1]+places.Queues[q:q+1], places.First
	}
	m.since, m.busy[q] = now, now.Add(places.Long+late)
	return true
}

// A waiting is a hold that may be going on, and the queues where a message ends
// it.
type waiting struct {
	connection string
	since      time.Time
	queues     []string
}

// ends returns the queues at which the client may be now, or will be.
func (m *mark) ends(now time.Time) []string {
	age := now.Sub(m.since)
	q, two := m.second()
	var queues []string
	switch {
	case m.step == "":
	case !two && age < places.Long+2*late:
		return []string{m.step}
	case two && age < places.Long+late:
		queues = append(queues, m.step[:1])
		fallthrough
	case two && age < places.Long+places.Short+2*late:
		queues = append(queues, places.Queues[q:q+1])
	}
	return queues
}

func markKey(key, connection string) store.Key { return store.Key{Part: "W#" + key, Sort: connection} }

// The attributes of a mark; the letters of queues are until when they are busy.
// Times are milliseconds since the epoch.
const (
	markStep, markSince = "k", "t"
	markMade            = "m"
	markBack, markAsked = "r", "n"
	markHere            = "h"
)

func readMark(it store.Item) mark {
	at := func(name string) time.Time {
		if ms := it.Int(name); ms != 0 {
			return time.UnixMilli(ms)
		}
		return time.Time{}
	}
	m := mark{
		connection: it.Key.Sort, step: it.Str(markStep), since: at(markSince),
		made: at(markMade), back: at(markBack), asked: it.Int(markAsked), here: at(markHere),
	}
	for q := range m.busy {
		m.busy[q] = at(places.Queues[q : q+1])
	}
	return m
}

func (m *mark) attrs() store.Attrs {
	attrs := store.Attrs{markAsked: m.asked}
	if m.step != "" {
		attrs[markStep] = m.step
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
	short := mark{step: m.step, since: m.since}
	_, err := h.db.Write(ctx, store.Put(store.Users, markKey(key, m.connection), short.attrs()).Until(h.clock.Now().Add(marksLast)))
	return err
}

// waiting reads who may wait for the key now.
func (h *hold) waiting(ctx context.Context, key string) (all []waiting, err error) {
	q := store.Query{Table: store.Users, Part: markKey(key, "").Part, Consistency: store.Consistent}
	for {
		page, err := h.db.Query(ctx, q)
		if err != nil {
			return all, fmt.Errorf("who waits: %w", err)
		}
		now := h.clock.Now()
		for _, it := range page.Items {
			m := readMark(it)
			if queues := m.ends(now); queues != nil {
				all = append(all, waiting{m.connection, m.since, queues})
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
