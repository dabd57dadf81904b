package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Rows of receipts, under the partition of the room in the rooms table, which
// shared/rooms writes:
//
//   - RC#user#thread: a Receipts, ≤ 1 KB, kept for good: how far the user has read
//     a thread, and "" is the room regardless of threads. Each of its two receipts
//     is written on the condition that it moves forward. If it were lost or rolled
//     back, the user would have read less.
//   - RCT#pos#user#thread: the same without the private receipt, for
//     userlog.Retention: that it was set while the room stood at pos. It is for
//     those who read what is new; whoever told of the room up to pos or less has
//     the receipt still to tell. It is written after RC#, and again if HEAD has
//     moved meanwhile, so that no message passes it by. If one is lost, others
//     learn of the receipt when they sync anew.
//   - RCW: {at, pos, sum}: when receipts were last told to others between two
//     messages, at which position, and what was told. If it is lost, they are told
//     again.
const (
	receiptPre = "RC#"
	recentPre  = "RCT#"
)

// ReceiptKey is the key of a user's receipts for a thread.
func ReceiptKey(room, user, thread string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: receiptPre + user + "#" + thread}
}

// RecentReceiptKey is the key that says that the receipt was set while the room
// stood at the position.
func RecentReceiptKey(room string, p Pos, user, thread string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: recentPre + p.String() + "#" + user + "#" + thread}
}

// IsRecentReceipt reports whether RecentReceiptKey made the key.
func IsRecentReceipt(k store.Key) bool { return strings.HasPrefix(k.Sort, recentPre) }

// ReceiptsToldKey is the key of the RCW row.
func ReceiptsToldKey(room string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: "RCW"}
}

// MainThread is the thread of events that are in none.
const MainThread = "main"

// Receipts are how far a user has read a thread of a room, by the public and by
// the private receipt; an empty event id is none.
type Receipts struct {
	// Stood is where the room stood when the receipt was set, of a RCT# row.
	Stood  Pos    `db:"-"`
	User   string `db:"u"`
	Thread string `db:"t,omitempty"`
	// EventID, Pos and TS (milliseconds) are of m.read.
	EventID string `db:"e,omitempty"`
	Pos     Pos    `db:"po,omitempty"`
	TS      int64  `db:"ts,omitempty"`
	// Those with Private are of m.read.private.
	PrivateEventID string `db:"pe,omitempty"`
	PrivatePos     Pos    `db:"ppo,omitempty"`
	PrivateTS      int64  `db:"pts,omitempty"`
}

// maxReceipts is how many receipts of a room an answer has. In rooms with more,
// the latest are told.
const maxReceipts = 300

// RecentReceipts returns the latest receipts, at most maxReceipts, that were set
// while the room stood between the positions, both included.
func (s *Service) RecentReceipts(ctx context.Context, room string, from, to Pos) ([]Receipts, error) {
	if to < end {
		to++
	}
	return s.receipts(ctx, store.Query{
		Table: store.Rooms, Part: RoomPart(room), From: recentPre + from.String(), To: recentPre + to.String(),
		Reverse: true, Limit: maxReceipts, Consistency: store.Consistent,
	})
}

func (s *Service) receipts(ctx context.Context, q store.Query) ([]Receipts, error) {
	page, err := s.DB.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read receipts of %s: %w", RoomOfPart(q.Part), err)
	}
	list := make([]Receipts, len(page.Items))
	for i, it := range page.Items {
		if err := store.Decode(it, &list[i]); err != nil {
			return nil, err
		}
		if pos, ok := strings.CutPrefix(it.Key.Sort, recentPre); ok {
			pos, _, _ = strings.Cut(pos, "#")
			if list[i].Stood, err = userlog.ParsePos(pos); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// receiptsFor collects the receipts of a room that the client does not have: the
// user's own, those of others that were set since, and for a fresh room all.
func (y *syncing) receiptsFor(ctx context.Context, t *task) ([]Receipts, error) {
	if t.fresh {
		return y.allReceipts(ctx, t.room)
	}
	var list []Receipts
	if from, to := t.from, t.to; to != 0 || t.receipts {
		if t.receipts {
			to = end
			if t.to == 0 {
				from = t.receiptsFrom
			} else {
				from = min(from, t.receiptsFrom)
			}
		}
		recent, err := y.s.RecentReceipts(ctx, t.room, from, to)
		if err != nil {
			return nil, err
		}
		list = recent
	}
	slices.Sort(t.own)
	var refs []store.Ref
	for _, thread := range slices.Compact(t.own) {
		refs = append(refs, store.Ref{Table: store.Rooms, Key: ReceiptKey(t.room, y.User, thread)})
	}
	own, err := store.GetAll(ctx, y.s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read receipts of %s: %w", t.room, err)
	}
	for _, it := range own {
		var r Receipts
		if err := store.Decode(it, &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// allReceipts are all receipts of a room, or of a room with very many the user's
// own and the latest of others.
func (y *syncing) allReceipts(ctx context.Context, room string) ([]Receipts, error) {
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Limit: maxReceipts, Consistency: store.Consistent}
	list, err := y.s.receipts(ctx, q.Prefix(receiptPre))
	if err != nil || len(list) < maxReceipts {
		return list, err
	}
	recent, err := y.s.RecentReceipts(ctx, room, 0, end)
	if err != nil {
		return nil, err
	}
	own, err := y.s.receipts(ctx, q.Prefix(receiptPre+y.User+"#"))
	return slices.Concat(list, recent, own), err
}

// receiptContent is one receipt in an m.receipt event.
type receiptContent struct {
	TS     int64  `json:"ts"`
	Thread string `json:"thread_id,omitempty"`
}

// ReceiptEvents returns receipts as m.receipt events, one for each thread: a user
// may have one for each of several threads at the same event. A private receipt is
// shown to its user alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#receipts
func ReceiptEvents(viewer string, list []Receipts) []json.RawMessage {
	// The last of several is the one of most weight.
	slices.SortStableFunc(list, func(a, b Receipts) int { return cmp.Compare(a.Pos, b.Pos) })
	type who struct{ thread, user, typ string }
	last := map[who]string{}
	content := map[string]map[string]map[string]map[string]receiptContent{} // thread, event, type, user
	set := func(r Receipts, typ, eventID string, ts int64) {
		w := who{r.Thread, r.User, typ}
		if old, ok := last[w]; ok {
			delete(content[r.Thread][old][typ], r.User)
		}
		last[w] = eventID
		if content[r.Thread] == nil {
			content[r.Thread] = map[string]map[string]map[string]receiptContent{}
		}
		events := content[r.Thread]
		if events[eventID] == nil {
			events[eventID] = map[string]map[string]receiptContent{}
		}
		if events[eventID][typ] == nil {
			events[eventID][typ] = map[string]receiptContent{}
		}
		events[eventID][typ][r.User] = receiptContent{ts, r.Thread}
	}
	for _, r := range list {
		if r.EventID != "" {
			set(r, "m.read", r.EventID, r.TS)
		}
		if r.PrivateEventID != "" && r.User == viewer {
			set(r, "m.read.private", r.PrivateEventID, r.PrivateTS)
		}
	}
	var events []json.RawMessage
	for _, thread := range slices.Sorted(maps.Keys(content)) {
		for eventID, types := range content[thread] {
			maps.DeleteFunc(types, func(_ string, users map[string]receiptContent) bool { return len(users) == 0 })
			if len(types) == 0 {
				delete(content[thread], eventID)
			}
		}
		events = append(events, encode(map[string]any{"type": typeReceipt, "content": content[thread]}))
	}
	return events
}

const typeReceipt = "m.receipt"

// ephemeral returns who types in a joined room, and what the client is told of how
// far others and itself have read it.
func (y *syncing) ephemeral(ctx context.Context, t *task) (*Events, error) {
	var events []json.RawMessage
	if f := &y.filter.Room.Ephemeral; f.wantsRoom(t.room) && f.wantsUnsent(typeReceipt) {
		list, err := y.receiptsFor(ctx, t)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(r Receipts) bool {
			ignored := false
			if r.User != y.User && err == nil {
				ignored, err = y.ignores.has(ctx, r.User)
			}
			return ignored
		})
		if err != nil {
			return nil, err
		}
		events = ReceiptEvents(y.User, list)
	}
	if typing, ok := y.typed[t.room]; ok {
		events = append(events, typing)
	}
	if len(events) == 0 {
		return nil, nil
	}
	return &Events{events}, nil
}

// note takes what an entry of the log tells of receipts.
func (t *task) note(e userlog.Entry) {
	if e.Kind == userlog.KindReceipt {
		t.own = append(t.own, e.Type)
		return
	}
	if !t.receipts || e.From < t.receiptsFrom {
		t.receiptsFrom = e.From
	}
	t.receipts = true
}
