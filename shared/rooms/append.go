package rooms

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// Txn identifies a request that may be repeated: the same one makes one event.
// The zero value identifies nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
type Txn struct {
	Device   string
	Endpoint string // "send", "redact": the scope is the endpoint
	ID       string
}

func txnKey(room string, d *Draft) store.Key {
	sum := sha256.Sum256([]byte(strings.Join([]string{d.Txn.Endpoint, room, d.Type, d.Redacts, d.Txn.ID}, "\x00")))
	return store.Key{
		Part: "TXN#" + d.Sender + "#" + d.Txn.Device,
		Sort: base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

// Sent is an event that is in the room.
type Sent struct {
	ID  string
	Pos timeline.Pos

	row *timeline.EventRow // nil if it was there already
}

// append adds the events that build makes to the room, in one transaction, and
// tells the log of the acting user and of those whose membership changed.
//
// The room is authorised against the HEAD that the transaction is conditional
// on. When HEAD has moved meanwhile, the events are made again on top of it: a
// signature costs far less than the round trip, and a room without forks needs
// no state resolution anywhere. Who is beaten a few times steps aside for a moment
// of random length; thirty processes that write to a room at once all get through.
// (data-model.md, 2026-11-21, would keep the fork, and send who is beaten three
// times through a queue of the room. The first costs every server of the room a
// resolution, and the second each such request two more functions and the wait for
// them; no case was found yet that needs either.)
func (s *Service) append(ctx context.Context, room, actor string, build func(context.Context, *batch) error) ([]Sent, error) {
	sent, concerns, err := s.commit(ctx, room, build)
	if err != nil {
		return nil, err
	}
	if len(sent) == 0 {
		return nil, nil
	}
	last := sent[len(sent)-1].Pos
	unread := s.Timeline.Unread(room)
	if len(sent) == 1 {
		unread.With(sent[0].row)
	}
	for user, pos := range concerns {
		if user == actor {
			continue
		}
		if err := s.Log.Moved(ctx, user, room, pos, unread); err != nil {
			return nil, err
		}
	}
	if s.isLocal(actor) {
		if err := s.Log.Moved(ctx, actor, room, last, unread); err != nil {
			return nil, err
		}
	}
	return sent, nil
}

// unknownRoom is the error of an operation on a room that is not here.
type unknownRoom struct{ error }

func (e *unknownRoom) Unwrap() error { return e.error }

// commit is append without the logs; concerns are the local targets of
// membership events with the position of the event.
func (s *Service) commit(ctx context.Context, room string, build func(context.Context, *batch) error) (sent []Sent, concerns map[string]timeline.Pos, err error) {
	defer s.lock(room)()
	return s.commitLocked(ctx, room, build)
}

// commitLocked is commit of whoever holds the lock of the room.
func (s *Service) commitLocked(ctx context.Context, room string, build func(context.Context, *batch) error) (sent []Sent, concerns map[string]timeline.Pos, err error) {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return nil, nil, &unknownRoom{err}
	}
	for try := range maxTries {
		b, err := s.newBatch(ctx, room, head)
		if err != nil {
			return nil, nil, err
		}
		if err := build(ctx, b); err != nil {
			old, err := b.repeated(ctx, err)
			if err != nil {
				return nil, nil, clientError(err)
			}
			return []Sent{*old}, nil, nil
		}
		if len(b.sent) == 0 {
			return nil, nil, nil
		}
		if err := b.finish(ctx); err != nil {
			return nil, nil, err
		}
		err = b.commit(ctx)
		if err == nil {
			return b.sent, b.concerns, nil
		}
		f := store.Failed(err)
		switch {
		case f != nil && b.txnAt > 0 && f.Failed[b.txnAt].Exists():
			old := sentBefore(f.Failed[b.txnAt])
			return []Sent{old}, nil, nil
		case f != nil && f.Failed[0].Exists() && try < stepAside:
			// The failed condition brought the new HEAD along.
			if head, err = timeline.HeadOf(f.Failed[0]); err != nil {
				return nil, nil, err
			}
			continue
		case f != nil, busy(err):
			if err := s.pause(ctx, try); err != nil {
				return nil, nil, err
			}
			if head, err = s.Timeline.Head(ctx, room); err != nil {
				return nil, nil, &unknownRoom{err}
			}
		default:
			return nil, nil, err
		}
	}
	return nil, nil, errBusy
}

// busy reports whether nothing was written and trying again may help.
func busy(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrThrottled)
}

func sentBefore(it store.Item) Sent { return Sent{ID: it.Str("id"), Pos: timeline.Pos(it.Int("pos"))} }

// repeated returns the event of a client transaction that was done before, or the
// error with which the request is to be refused. A repeated request must be
// answered as the first one was, even if the user may not do it any more; where it
// cannot be told whether it was done, that is the error.
func (b *batch) repeated(ctx context.Context, refusal error) (*Sent, error) {
	if b.txn == nil || ctx.Err() != nil {
		return nil, refusal
	}
	it, err := b.s.DB.Get(ctx, store.Ref{Table: store.Users, Key: *b.txn}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusal
	}
	if err != nil {
		return nil, fmt.Errorf("read a client transaction: %w", err)
	}
	old := sentBefore(it)
	return &old, nil
}

// commit writes the chunks of new states, and then the transaction. A kill
// between the two leaves chunks that nothing refers to.
func (b *batch) commit(ctx context.Context) error {
	began := b.s.Clock.Now()
	if err := b.writeChunks(ctx); err != nil {
		return err
	}
	if b.s.Clock.Now().Sub(began) > staleAfter {
		return fmt.Errorf("append to %s: stopped for too long: %w", b.room, store.ErrConflict)
	}
	ws := b.transaction()
	if err := b.s.DB.Transact(ctx, ws...); err != nil {
		return fmt.Errorf("append to %s: %w", b.room, err)
	}
	return nil
}

// staleAfter is how long a writer may stop between its chunks and its transaction.
// Much later, and the sweeper may have deleted them (see SweepChunks).
const staleAfter = time.Hour

// writeChunks writes the chunks of new states.
func (b *batch) writeChunks(ctx context.Context) error {
	now := b.s.Clock.Now()
	// Chunks are immutable and named by their content, so writing them is
	// idempotent and their order among themselves does not matter yet.
	var wg sync.WaitGroup
	errs := make([]error, len(b.chunks))
	slots := make(chan struct{}, 16)
	for i, c := range b.chunks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w := store.Put(store.Rooms, timeline.ChunkKey(b.room, c.Hash), store.Attrs{"b": c.Data, "born": clock.Millis(now)})
			_, errs[i] = b.s.DB.Write(ctx, w)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write state of %s: %w", b.room, err)
	}
	return nil
}

// commitPatiently is commit of a batch that nobody else competes with: what a
// busy store refuses is tried again as it is.
func (b *batch) commitPatiently(ctx context.Context) (err error) {
	for try := range maxTries {
		if err = b.commit(ctx); !busy(err) {
			return err
		}
		if err := b.s.pause(ctx, try); err != nil {
			return err
		}
	}
	return err
}

// transaction returns the writes, HEAD first.
func (b *batch) transaction() []store.Write {
	b.head.Version = b.was.Version + 1
	b.spill()
	head := store.Put(store.Rooms, timeline.HeadKey(b.room), store.Encode(b.head))
	if b.was.Version == 0 {
		head = head.If(store.NotExists())
	} else {
		head = head.If(store.Equal(timeline.HeadVersion, b.was.Version))
	}
	ws := append([]store.Write{head}, b.writes...)
	for _, w := range b.rows {
		ws = append(ws, w)
	}
	for server, n := range b.servers {
		if n != 0 {
			ws = append(ws, store.Update(store.Rooms, timeline.ServerKey(b.room, server)).Add("n", n))
		}
	}
	for _, w := range b.cursors {
		ws = append(ws, w)
	}
	for _, w := range b.marks {
		ws = append(ws, w)
	}
	for eventID, w := range b.stay {
		if _, marked := b.marks[eventID]; !marked { // a mark has the condition itself
			ws = append(ws, w)
		}
	}
	return append(ws, b.relationWrites()...)
}

// spill divides the forward extremities between HEAD, which holds the newest, and
// rows of their own.
func (b *batch) spill() {
	n := max(0, len(b.exts)-timeline.MaxExtremities)
	b.head.Extremities, b.head.Spilled = b.exts[n:], int64(n)
	stays := map[string]bool{}
	for _, x := range b.exts[:n] {
		stays[x.ID] = true
		if !b.spilled[x.ID] {
			k := timeline.ExtremityKey(b.room, x.ID)
			b.rows[k] = store.Put(store.Rooms, k, store.Encode(x))
		}
	}
	for eventID := range b.spilled {
		if !stays[eventID] {
			k := timeline.ExtremityKey(b.room, eventID)
			b.rows[k] = store.Delete(store.Rooms, k)
		}
	}
}

// Send adds one event to a room.
func (s *Service) Send(ctx context.Context, room string, d Draft) (Sent, error) {
	if d.Type == "" {
		return Sent{}, mxerr.InvalidParam("An event needs a type.")
	}
	if err := checkTombstone(room, d); err != nil {
		return Sent{}, err
	}
	if d.StateKey != nil {
		sent, err := s.append(ctx, room, d.Sender, func(ctx context.Context, b *batch) error { return b.add(ctx, d) })
		if err != nil {
			return Sent{}, hide(err, room)
		}
		return sent[0], nil
	}
	sent, err := s.sendTogether(ctx, room, d)
	if err == nil && s.isLocal(d.Sender) {
		err = s.Log.Moved(ctx, d.Sender, room, sent.Pos, s.Timeline.Unread(room).With(sent.row))
	}
	if err != nil {
		return Sent{}, hide(err, room)
	}
	return sent, nil
}
