package timeline

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/virga-im/virga/events/canonicaljson"
)

// section is a part of the rooms of an answer. They are written in this order.
type section uint8

const (
	nowhere section = iota
	joinedRooms
	invitedRooms
	knockedRooms
	leftRooms
)

// String is the key of the section.
func (s section) String() string { return [...]string{"", "join", "invite", "knock", "leave"}[s] }

// sectionOf is where a room with a membership of the user's belongs.
func sectionOf(membership string) section {
	switch membership {
	case "join":
		return joinedRooms
	case "invite":
		return invitedRooms
	case "knock":
		return knockedRooms
	}
	return leftRooms
}

// toldRooms are the rooms of an answer: those of tasks, which are read while they
// are written, or what was read already.
type toldRooms struct {
	y       *syncing
	tasks   []*task
	encoded bytes.Buffer
	number  uint32 // of an answer that tells of members: see lazily
}

// any reports whether there is anything to tell.
func (r *toldRooms) any() bool { return r.y.all || r.encoded.Len() > 0 || len(r.y.told) > 0 }

// rooms prepares to tell of rooms. What is new since a token is read at once, for
// only then is it known whether there is anything; all there is would be too much
// to hold.
func (y *syncing) rooms(ctx context.Context, tasks []*task) (*toldRooms, error) {
	tasks = slices.DeleteFunc(tasks, func(t *task) bool { return !y.filter.Room.wantsRoom(t.room) })
	for room := range y.typed {
		if !slices.ContainsFunc(tasks, func(t *task) bool { return t.room == room }) {
			tasks = append(tasks, &task{room: room})
		}
	}
	err := parallel(ctx, tasks, y.place)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(tasks, func(a, b *task) int { return cmp.Compare(a.section, b.section) })
	y.tasks = tasks
	r := &toldRooms{y: y, tasks: tasks}
	if !y.all {
		err = r.write(ctx, &r.encoded)
		r.tasks = nil
	}
	return r, err
}

// write tells of the tasks, as the member "rooms" of the answer.
func (r *toldRooms) write(ctx context.Context, w interface {
	io.Writer
	io.StringWriter
}) error {
	in := nowhere
	encoded := func(ctx context.Context, t *task) ([]byte, error) {
		room, err := r.y.tell(ctx, t)
		if err != nil || room == nil {
			return nil, err
		}
		if r.y.told != nil {
			r.y.note(t.room, room)
			return nil, nil
		}
		return room.encode(), nil
	}
	err := inOrder(ctx, r.tasks, encoded, func(t *task, room []byte) error {
		if room == nil {
			return nil
		}
		var b []byte
		switch in {
		case t.section:
			b = append(b, ',')
		case nowhere:
			b = append(b, `,"rooms":{"`+t.section.String()+`":{`...)
		default:
			b = append(b, `},"`+t.section.String()+`":{`...)
		}
		in = t.section
		b = append(canonicaljson.AppendString(b, t.room), ':')
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Write(room)
		reuse(room)
		return err
	})
	if err == nil && in != nowhere {
		_, err = w.WriteString("}}")
	}
	return err
}

// note keeps a room for those who write no JSON of it.
func (y *syncing) note(id string, room toldRoom) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.told[id] = room
}

// answerBuffer is how much of an answer is held before any of it is sent.
const answerBuffer = 64 << 10

// WriteJSON writes the answer. After an error that is not of w, what was written
// is broken; nothing was, if the answer is short.
func (r *SyncResponse) WriteJSON(ctx context.Context, w io.Writer) error {
	head := bytes.TrimSuffix(encode(r), []byte("}"))
	if !r.told.y.all {
		r.told.remember()
		_, err := w.Write(slices.Concat(head, r.told.encoded.Bytes(), []byte("}")))
		return err
	}
	out := bufio.NewWriterSize(w, answerBuffer)
	out.Write(head) // out keeps the error
	if err := r.told.write(ctx, out); err != nil {
		return err
	}
	r.told.remember() // before the client has all of the token's answer
	out.WriteString("}")
	return out.Flush()
}

func (r *toldRooms) remember() {
	if r.number != 0 {
		r.y.lazily.keep(r.y.s, r.y.Viewer, r.number)
	}
}

// encode returns the room as JSON. Events are JSON already, and are copied as they
// are: to encode them would be to read each of them once more.
func (r *SyncRoom) encode() []byte {
	rest := *r
	rest.Timeline, rest.State, rest.StateAfter, rest.StateAfterUnstable, rest.Ephemeral, rest.AccountData = TimelineBatch{}, nil, nil, nil, nil, nil
	b := append(buffer(), `{"timeline":{"events":`...)
	b = appendList(b, r.Timeline.Events)
	b = strconv.AppendBool(append(b, `,"limited":`...), r.Timeline.Limited)
	if r.Timeline.PrevBatch != "" {
		b = canonicaljson.AppendString(append(b, `,"prev_batch":`...), r.Timeline.PrevBatch)
	}
	b = append(b, '}')
	for _, list := range []struct {
		key    string
		events *Events
	}{
		{"state", r.State}, {"state_after", r.StateAfter}, {"org.matrix.msc4222.state_after", r.StateAfterUnstable},
		{"ephemeral", r.Ephemeral}, {"account_data", r.AccountData},
	} {
		if list.events != nil {
			b = append(b, `,"`+list.key+`":{"events":`...)
			b = append(appendList(b, list.events.Events), '}')
		}
	}
	if more := encode(rest)[1:]; len(more) > len("}") {
		return append(append(b, ','), more...)
	}
	return append(b, '}')
}

func (r *InvitedRoom) encode() []byte { return encode(r) }
func (r *KnockedRoom) encode() []byte { return encode(r) }

// buffers are those of rooms that were written: an initial sync needs one after the
// other, and they are large.
var buffers sync.Pool

// maxBuffer is the largest buffer that is kept.
const maxBuffer = 256 << 10

func buffer() []byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, 1024)
}

func reuse(b []byte) {
	if cap(b) <= maxBuffer {
		b = b[:0]
		buffers.Put(&b)
	}
}

func appendList(b []byte, list []json.RawMessage) []byte {
	size := 2
	for _, e := range list {
		size += len(e) + 1
	}
	b = append(slices.Grow(b, size), '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	return append(b, ']')
}
