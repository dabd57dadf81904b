package timeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

// What clients of before /sync ask for is made of an answer of /sync: InitialSync
// of one without a token, and Stream of one with a token. Their tokens are those of
// /sync.

// Initial is the user's state as clients of before /sync know it.
type Initial struct {
	End         string            `json:"end"`
	Presence    []json.RawMessage `json:"presence"`
	Rooms       []*RoomInfo       `json:"rooms"`
	AccountData []json.RawMessage `json:"account_data"`
	// Receipts is not in the specification; servers have always sent them, and
	// clients have no other way to learn of them.
	Receipts []json.RawMessage `json:"receipts"`
}

// InitialSync returns the user's rooms with their newest messages, at most limit of
// each, and all there is to know beside them. With archived it also has those that
// the user has left, as they were then.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
func (s *Service) InitialSync(ctx context.Context, v Viewer, limit int, archived bool) (*Initial, error) {
	if limit < 0 {
		return nil, mxerr.InvalidParam("limit must not be negative.")
	}
	y, err := s.syncing(ctx, v, SyncRequest{
		Filter:     fmt.Sprintf(`{"room":{"timeline":{"limit":%d},"ephemeral":{"types":["m.receipt"]},"include_leave":%t}}`, limit, archived),
		StateAfter: true, Presence: Online, roomIDs: true,
	})
	if err != nil {
		return nil, err
	}
	y.told = map[string]toldRoom{}
	resp, _, err := y.answer(ctx)
	if err != nil {
		return nil, err
	}
	if err := resp.told.write(ctx, new(bytes.Buffer)); err != nil {
		return nil, err
	}
	all := &Initial{End: resp.NextBatch, Presence: resp.Presence.list(), AccountData: resp.AccountData.list(), Rooms: []*RoomInfo{}, Receipts: []json.RawMessage{}}
	infos := make([]*RoomInfo, len(y.tasks))
	err = parallel(ctx, indexes(y.tasks), func(ctx context.Context, i int) (err error) {
		infos[i], err = y.info(ctx, y.tasks[i], all.End)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info == nil {
			continue
		}
		all.Rooms = append(all.Rooms, info)
		if r, ok := y.told[info.RoomID].(*SyncRoom); ok {
			for _, e := range r.Ephemeral.list() {
				all.Receipts = append(all.Receipts, inRoom(e, info.RoomID))
			}
		}
	}
	return all, nil
}

// info is a room of the answer, or nil if it is not for clients of that time.
func (y *syncing) info(ctx context.Context, t *task, end string) (*RoomInfo, error) {
	info := &RoomInfo{RoomID: t.room, Membership: t.cursor.MembershipAt(t.to)}
	var err error
	switch r := y.told[t.room].(type) {
	case *SyncRoom:
		info.Messages = &PaginationChunk{End: end, Chunk: r.Timeline.Events}
		if r.Timeline.Limited {
			info.Messages.Start = r.Timeline.PrevBatch
		}
		info.State, info.AccountData = r.StateAfter.list(), r.AccountData.list()
	case *InvitedRoom:
		if info.Invite, err = y.ownEvent(ctx, t); err != nil {
			return nil, err
		}
	default:
		return nil, nil
	}
	info.Visibility, err = y.s.published(ctx, t.room)
	return info, err
}

// ownEvent is the user's membership event at the end of a task.
func (y *syncing) ownEvent(ctx context.Context, t *task) (json.RawMessage, error) {
	for _, tr := range slices.Backward(t.cursor.Transitions) {
		if tr.Pos > t.to {
			continue
		}
		row, _, err := y.s.transitionRow(ctx, t.room, tr)
		if err != nil || row == nil {
			return nil, err
		}
		e, err := row.Visible()
		if err != nil {
			return nil, err
		}
		age := clock.Millis(y.s.Clock.Now()) - e.OriginServerTS
		return e.ClientJSON(pdu.ClientFormat{Unsigned: encode(unsigned{Age: age})}), nil
	}
	return nil, nil
}

// list is what there is, never nil.
func (e *Events) list() []json.RawMessage {
	if e == nil || e.Events == nil {
		return []json.RawMessage{}
	}
	return e.Events
}

// inRoom is an event, a JSON object that is not empty, with its room.
func inRoom(event json.RawMessage, room string) json.RawMessage {
	return append(fmt.Appendf(nil, `{"room_id":%s,`, encode(room)), event[1:]...)
}

// EventStream is what is new, as clients of before /sync ask for it.
type EventStream struct {
	Start string            `json:"start"`
	End   string            `json:"end"`
	Chunk []json.RawMessage `json:"chunk"`

	wakes []string
	again time.Time
}

// WakeKeys and LooksAgain are as those of a SyncResponse.
func (r *EventStream) WakeKeys() []string { return r.wakes }

// LooksAgain is when to look without being woken.
func (r *EventStream) LooksAgain() time.Time { return r.again }

const (
	// streamEntries is of how many entries of the log an answer tells, which mostly
	// are as many events, and streamEvents the most events of one room.
	streamEntries = 50
	streamFilter  = `{"room":{"timeline":{"limit":500},"state":{"types":[]}}}`
	// peekEvery is how often somebody looks who is not in the room, whom nobody
	// wakes, and peekLimit the most events of an answer.
	peekEvery = 3 * time.Second
	peekLimit = 100
)

// Stream returns what is new for a device since a token, and whether that is worth
// answering at once. Without a token it says where the stream is now. Of a room
// with more than 500 new events at once it has the last ones.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
func (s *Service) Stream(ctx context.Context, v Viewer, req SyncRequest) (_ *EventStream, ready bool, err error) {
	if req.Since == "" {
		h, err := s.now(ctx, v.User)
		end := token.Sync{Epoch: h.Epoch, N: h.N}.String(v.User, v.Device)
		return &EventStream{Start: end, End: end, Chunk: []json.RawMessage{}}, true, err
	}
	req.Filter, req.stream, req.roomIDs = streamFilter, streamEntries, true
	y, err := s.syncing(ctx, v, req)
	if err != nil {
		return nil, false, err
	}
	y.told = map[string]toldRoom{}
	resp, ready, err := y.answer(ctx)
	if err != nil {
		return nil, false, err
	}
	chunk := slices.Concat([]json.RawMessage{}, resp.AccountData.list(), resp.Presence.list())
	for _, t := range y.tasks {
		switch r := y.told[t.room].(type) {
		case *SyncRoom:
			chunk = append(chunk, r.flat(t.room)...)
		case *InvitedRoom, *KnockedRoom:
			own, err := y.ownEvent(ctx, t)
			if err != nil {
				return nil, false, err
			}
			if own != nil {
				chunk = append(chunk, own)
			}
		}
	}
	return &EventStream{Start: req.Since, End: resp.NextBatch, Chunk: chunk, wakes: resp.wakes, again: resp.again}, ready, nil
}

// flat is all that is told of a room, as one list.
func (r *SyncRoom) flat(room string) []json.RawMessage {
	list := slices.Clone(r.Timeline.Events)
	for _, e := range slices.Concat(r.AccountData.list(), r.Ephemeral.list()) {
		list = append(list, inRoom(e, room))
	}
	return list
}

// Peek is Stream for one room, which everybody may ask for who may read it. Its
// tokens are those of RoomInitialSync and /messages; members may use those of
// Stream.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-previews
func (s *Service) Peek(ctx context.Context, v Viewer, room, from string) (_ *EventStream, ready bool, err error) {
	if !id.ValidRoom(room) {
		return nil, false, mxerr.InvalidParam("%q is not a room id.", room)
	}
	w, err := s.view(ctx, v, room)
	if err != nil {
		return nil, false, err
	}
	if from == "" {
		head, err := s.Head(ctx, room)
		if err != nil {
			return nil, false, err
		}
		end := token.Position(min(head.Pos, w.until))
		return &EventStream{Start: end, End: end, Chunk: []json.RawMessage{}}, true, nil
	}
	low, err := w.position(ctx, "from", from)
	if err != nil {
		return nil, false, err
	}
	if low == end {
		return nil, false, mxerr.InvalidParam("The token in \"from\" says nothing of this room; begin with its own /initialSync.")
	}
	rows, next, more, err := w.page(ctx, low, w.until, MessagesRequest{Limit: peekLimit, Filter: new(RoomEventFilter)})
	if err != nil {
		return nil, false, err
	}
	resp := &EventStream{Start: from, End: token.Position(next), wakes: []string{userlog.RoomWakeKey(room)}}
	if w.stranger {
		resp.again = s.Clock.Now().Add(peekEvery)
	}
	resp.Chunk, err = w.show(ctx, rows, format{prev: true, bundle: true})
	return resp, len(rows) > 0 || more, err
}
