package rooms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// tellReceipt lets others learn of a receipt: with the next message, since the row
// says that it was set before it, or in a while if there is none.
//
// A message that is committed after HEAD was read the last time is told after the
// row was written, so its readers find the row. Nor does a row stay that says less
// than the receipt that another device of the user has set meanwhile, and that others
// may have been told of before.
func (s *Service) tellReceipt(ctx context.Context, room string, r timeline.Receipts) error {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return err
	}
	for range maxTries {
		row := store.Put(store.Rooms, timeline.RecentReceiptKey(room, head.Pos, r.User, r.Thread), store.Encode(r)).
			Until(s.Clock.Now().Add(userlog.Retention))
		if _, err := s.DB.Write(ctx, row); err != nil {
			return fmt.Errorf("tell of receipt in %s: %w", room, err)
		}
		next, latest, err := s.headAndReceipts(ctx, room, r)
		if err != nil {
			return err
		}
		if next.Pos == head.Pos && latest.Pos == r.Pos {
			break
		}
		head, r = next, latest
	}
	return s.tellReceiptsLater(ctx, room)
}

// headAndReceipts reads where a room stands, and the public receipt that the user
// of r has for its thread by now.
func (s *Service) headAndReceipts(ctx context.Context, room string, r timeline.Receipts) (*timeline.Head, timeline.Receipts, error) {
	head := new(timeline.Head)
	items, err := store.GetAll(ctx, s.DB, []store.Ref{
		{Table: store.Rooms, Key: timeline.HeadKey(room)}, {Table: store.Rooms, Key: timeline.ReceiptKey(room, r.User, r.Thread)},
	}, store.Consistent)
	if err != nil {
		return nil, r, fmt.Errorf("read receipt in %s: %w", room, err)
	}
	for _, it := range items {
		if it.Key.Sort == timeline.HeadSort {
			head, err = timeline.HeadOf(it)
		} else {
			var latest timeline.Receipts
			err = store.Decode(it, &latest)
			r.EventID, r.Pos, r.TS = latest.EventID, latest.Pos, latest.TS
		}
		if err != nil {
			return nil, r, err
		}
	}
	return head, r, nil
}

const (
	// receiptsEvery is the least time between two times that a room's receipts are
	// told to others.
	receiptsEvery = 3 * time.Second
	// receiptsTo is in how many active members a room has its receipts told with
	// its messages only.
	receiptsTo = 50
)

// scheduled remembers in which rooms receipts are to be told, so that the
// receipts of a few seconds send one message. Each process remembers its own.
type scheduled struct {
	mu sync.Mutex
	at map[string]time.Time
}

// maxScheduled bounds the memory.
const maxScheduled = 10_000

// soon reports whether receipts that are recorded by now will be told anyway. A
// second is left for the request that asked for it to be slow.
func (s *scheduled) soon(room string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[room]
	return ok && now.Sub(at) < receiptsEvery-time.Second
}

func (s *scheduled) add(room string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil || len(s.at) >= maxScheduled {
		s.at = map[string]time.Time{}
	}
	s.at[room] = at
}

// Task is a message of the work queue. Unknown kinds are for versions to come.
type Task struct {
	Kind string `json:"kind"`
	Room string `json:"room,omitempty"`
	// User is whom a task of presence is about.
	User string `json:"user,omitempty"`
	// Users are those whom a PushTask is about, at most maxTaskUsers; Badge says that
	// their counts have changed.
	Users []string `json:"users,omitempty"`
	Badge bool     `json:"badge,omitempty"`
}

// The kinds of tasks.
const (
	// TellReceiptsTask calls TellReceipts.
	TellReceiptsTask = "tell_receipts"
	// PushTask calls Deliver of shared/gateway.
	PushTask = "push"
)

// maxTaskUsers is how many users one task is about, so that it ends in good time.
const maxTaskUsers = 50

func (s *Service) tellReceiptsLater(ctx context.Context, room string) error {
	now := s.Clock.Now()
	if s.receipts.soon(room, now) {
		return nil
	}
	if err := s.later(ctx, Task{Kind: TellReceiptsTask, Room: room}, receiptsEvery); err != nil {
		return err
	}
	s.receipts.add(room, now)
	return nil
}

// receiptsTold is the RCW row.
type receiptsTold struct {
	At  int64        `db:"at"`
	Pos timeline.Pos `db:"pos"`
	Sum string       `db:"sum"`
}

// TellsReceipts is what TellReceipts uses.
var TellsReceipts = grant.Of(grant.ReadTable("rooms"), userlog.Appends, grant.WriteTable("rooms"))

// TellReceipts tells the members of a room of receipts that were set since that
// was last done, unless the room has so many active members that they learn of
// them with the next message. It is done at least once: told twice, a client
// learns nothing new.
func (s *Service) TellReceipts(ctx context.Context, room string) error {
	key := timeline.ReceiptsToldKey(room)
	var told receiptsTold
	items, err := store.GetAll(ctx, s.DB, []store.Ref{{Table: store.Rooms, Key: key}}, store.Consistent)
	if err != nil {
		return fmt.Errorf("read what receipts were told in %s: %w", room, err)
	}
	for _, it := range items {
		if err := store.Decode(it, &told); err != nil {
			return err
		}
	}
	head, err := s.Timeline.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := s.Timeline.RecentReceipts(ctx, room, told.Pos, ^timeline.Pos(0)-1)
	if err != nil {
		return err
	}
	sum := receiptsSum(list)
	if len(list) == 0 || sum == told.Sum {
		return nil
	}
	now := s.Clock.Now()
	if wait := receiptsEvery - now.Sub(time.UnixMilli(told.At)); told.At != 0 && wait > receiptsEvery/10 {
		// Another process was asked as well, and told just now.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Clock.After(min(wait, receiptsEvery)):
			return s.TellReceipts(ctx, room)
		}
	}
	users, err := s.members(ctx, room, head)
	if err != nil {
		return err
	}
	active, err := s.Log.Active(ctx, users)
	if err != nil {
		return err
	}
	if len(active) <= receiptsTo {
		if reader := list[0].User; !slices.ContainsFunc(list, func(r timeline.Receipts) bool { return r.User != reader }) {
			active = slices.DeleteFunc(active, func(user string) bool { return user == reader }) // who knows
		}
		if err := s.Log.AppendAll(ctx, active, userlog.Entry{Kind: userlog.KindReceipts, Room: room, From: told.Pos}); err != nil {
			return err
		}
	}
	// HEAD was read before the receipts: what is set from now on is at it or later.
	list = slices.DeleteFunc(list, func(r timeline.Receipts) bool { return r.Stood < head.Pos })
	next := receiptsTold{At: clock.Millis(now), Pos: head.Pos, Sum: receiptsSum(list)}
	w := store.Put(store.Rooms, key, store.Encode(next)).
		If(store.AnyOf(store.Absent("at"), store.Equal("at", told.At)))
	if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("note what receipts were told in %s: %w", room, err)
	}
	return nil
}

// later sends a task that is done after a delay.
func (s *Service) later(ctx context.Context, t Task, delay time.Duration) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	if err := s.Queues.Send(ctx, queue.Work, queue.Message{Body: string(body), Delay: delay}); err != nil {
		return fmt.Errorf("put off a task: %w", err)
	}
	return nil
}

// receiptsSum tells two lists of receipts apart.
func receiptsSum(list []timeline.Receipts) string {
	h := sha256.New()
	for _, r := range list {
		fmt.Fprintf(h, "%s %s %s %s\n", r.Stood, r.User, r.Thread, r.EventID)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
