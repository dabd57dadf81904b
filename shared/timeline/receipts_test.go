package timeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// putOff is a queue whose messages wait for the test.
type putOff struct {
	mu   sync.Mutex
	sent []queue.Message
}

func (q *putOff) Send(_ context.Context, _ *queue.Queue, m queue.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = append(q.sent, m)
	return nil
}

// later is the machine's clock, moved by the test.
type later struct {
	mu sync.Mutex
	by time.Duration
}

func (c *later) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().UTC().Add(c.by)
}

func (c *later) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

func (c *later) After(d time.Duration) <-chan time.Time { return time.After(d) }

// readers are a server with a room of alice and many others, all of them active.
type readers struct {
	*server
	clock *later
	queue *putOff
	room  string
	names []string
}

func openReaders(t *testing.T, n int) *readers {
	return openReadersWith(t, n, local.NewMemory().Options())
}

func openReadersWith(t *testing.T, n int, opt local.Options) *readers {
	c, q := new(later), new(putOff)
	r := &readers{server: openWith(t, opt, c), clock: c, queue: q}
	r.rooms.Queues = q
	r.room = r.create()
	for i := range n {
		name := fmt.Sprintf("r%d", i)
		_, err := r.accounts.Register(r.ctx, accounts.Registration{Username: name, Password: "a password", InhibitLogin: true},
			&accounts.AuthData{Type: "m.login.dummy"})
		r.ok(err)
		user := "@" + name + ":test"
		r.names = append(r.names, user)
		r.join(r.room, user)
		r.sync(user, "", "")
	}
	return r
}

func (r *readers) read(user, eventID, typ string) {
	r.t.Helper()
	r.ok(r.rooms.SetReceipts(r.ctx, user, r.room, []rooms.Receipt{{Type: typ, EventID: eventID}}))
}

// flush does what was put off, after the time has come.
func (r *readers) flush() {
	r.t.Helper()
	r.clock.pass(5 * time.Second)
	sent := r.queue.sent
	r.queue.sent = nil
	for _, m := range sent {
		var task rooms.Task
		r.ok(json.Unmarshal([]byte(m.Body), &task))
		r.ok(r.rooms.TellReceipts(r.ctx, task.Room))
	}
}

// told returns who has read what as of an answer, as "type user event".
func (r *readers) told(resp *timeline.SyncResponse) []string {
	r.t.Helper()
	var list []string
	if resp.Rooms == nil || resp.Rooms.Join[r.room] == nil || resp.Rooms.Join[r.room].Ephemeral == nil {
		return nil
	}
	for _, raw := range resp.Rooms.Join[r.room].Ephemeral.Events {
		var e struct {
			Content map[string]map[string]map[string]any `json:"content"`
		}
		r.ok(json.Unmarshal(raw, &e))
		for eventID, types := range e.Content {
			for typ, users := range types {
				for user := range users {
					list = append(list, strings.Join([]string{typ, user, eventID}, " "))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

func TestReceiptsAreToldOnceForManyAndNeverLost(t *testing.T) {
	r := openReaders(t, 3)
	one := r.say(r.room, alice, "one")
	since := r.sync(alice, "", "").NextBatch
	for _, user := range r.names {
		r.read(user, one, rooms.Read)
	}
	if len(r.queue.sent) != 1 {
		t.Errorf("three receipts at once put off %d tasks", len(r.queue.sent))
	}
	if got := r.told(r.sync(alice, since, "")); got != nil {
		t.Errorf("told before the time: %q", got)
	}
	r.flush()
	resp := r.sync(alice, since, "")
	want := []string{"m.read @r0:test " + one, "m.read @r1:test " + one, "m.read @r2:test " + one}
	r.same("after a while", r.told(resp), want)
	r.flush()
	if again := r.told(r.sync(alice, resp.NextBatch, "")); again != nil {
		t.Errorf("told without news: %q", again)
	}
	// What came together with a message is told with it.
	r.read(r.names[0], r.say(r.room, alice, "two"), rooms.Read)
	three := r.say(r.room, alice, "three")
	resp = r.sync(alice, resp.NextBatch, "")
	if got := r.told(resp); len(got) == 0 || !strings.HasPrefix(got[0], "m.read @r0:test") {
		t.Errorf("with the message came %q", got)
	}
	// A private receipt is never told to others, now or later.
	r.read(r.names[1], three, rooms.ReadPrivate)
	r.flush()
	r.say(r.room, alice, "four")
	for _, got := range [][]string{r.told(r.sync(alice, resp.NextBatch, "")), r.told(r.sync(alice, "", ""))} {
		if strings.Contains(strings.Join(got, " "), rooms.ReadPrivate) {
			t.Errorf("told of others: %q", got)
		}
	}
	if got := r.told(r.sync(r.names[1], "", "")); !slices.Contains(got, "m.read.private @r1:test "+three) {
		t.Errorf("the reader is told %q", got)
	}
}

// A request that is killed between any two steps and then repeated tells everyone.
func TestARepeatedReceiptIsToldAgain(t *testing.T) {
	r := openReaders(t, 1)
	one := r.say(r.room, alice, "one")
	since := r.sync(alice, "", "").NextBatch
	row := timeline.Receipts{User: r.names[0], EventID: one, Pos: r.pos(one), TS: 1}
	_, err := r.db.Write(r.ctx, store.Put(store.Rooms, timeline.ReceiptKey(r.room, r.names[0], ""), store.Encode(row)))
	r.ok(err)
	r.read(r.names[0], one, rooms.Read)
	r.flush()
	r.same("after the repeat", r.told(r.sync(alice, since, "")), []string{"m.read @r0:test " + one})
}

func (r *readers) pos(eventID string) timeline.Pos {
	r.t.Helper()
	rows, err := r.timeline.EventsByID(r.ctx, r.room, []string{eventID})
	r.ok(err)
	return rows[eventID].Pos
}

// TestReceiptsOfABusyRoomCostTheirOwnWritesOnly is the arithmetic of data-model.md,
// section 8: without it, 100 readers of a message cost 10,000 writes.
func TestReceiptsOfABusyRoomCostTheirOwnWritesOnly(t *testing.T) {
	const n, messages = 100, 5
	r := openReaders(t, n)
	cursor := map[string]string{}
	for _, user := range r.names {
		cursor[user] = r.sync(user, "", "").NextBatch
	}
	var receipts, told store.Meter
	all := r.ctx
	for i := range messages {
		id := r.say(r.room, alice, fmt.Sprint(i))
		r.ctx = store.WithMeter(all, &receipts)
		for _, user := range r.names {
			r.read(user, id, rooms.Read)
		}
		r.ctx = store.WithMeter(all, &told)
		r.flush()
		r.ctx = all
	}
	last := r.say(r.room, alice, "last")
	per := receipts.Total().Writes / (n * messages)
	t.Logf("%d readers of %d messages: %.2f WU a receipt, to tell others %v", n, messages, per, told.Tables())
	// The receipt, for others, for the user's devices, and the counts.
	if per > 4.1 {
		t.Errorf("a receipt costs %.2f WU", per)
	}
	if told.Total().Writes > 2*messages {
		t.Errorf("telling others costs %s", told.Total())
	}
	for _, user := range r.names[:3] {
		if got := r.told(r.sync(user, cursor[user], "")); len(got) != n {
			t.Errorf("with the message %s, %s is told of %d receipts", last, user, len(got))
		}
	}
}

// Two devices of a user set a receipt at once. Whatever others were told of first,
// in the end they know the later one.
func TestReceiptsOfTwoDevicesDoNotGoBack(t *testing.T) {
	for n := int64(1); ; n++ {
		var h hook
		opt := local.NewMemory().Options()
		opt.Fault = h.fault
		r := openReadersWith(t, 2, opt)
		early, late := r.say(r.room, alice, "early"), r.say(r.room, alice, "late")
		reader, other := r.names[0], r.names[1]
		since, believed := r.sync(other, "", "").NextBatch, ""
		look := func() {
			r.flush()
			resp := r.sync(other, since, "")
			since = resp.NextBatch
			for _, told := range r.told(resp) {
				if event, ok := strings.CutPrefix(told, "m.read "+reader+" "); ok {
					believed = event
				}
			}
		}
		h.before(n, func() {
			r.read(reader, late, "m.read")
			look()
			r.say(r.room, alice, "a message")
			look()
		})
		r.read(reader, early, "m.read")
		if h.over() {
			return
		}
		look()
		if believed != late {
			t.Errorf("set before the call %d: others are told of %q, and not of %q", n, believed, late)
		}
	}
}

// Somebody who was away for a day learns who has read the last message meanwhile,
// also if nobody answered.
func TestTheDormantLearnWhoHasRead(t *testing.T) {
	r := openReaders(t, 2)
	reader, away := r.names[0], r.names[1]
	last := r.say(r.room, away, "good night")
	since := r.sync(away, "", "").NextBatch
	r.clock.pass(dormancy)
	r.read(reader, last, rooms.Read)
	r.flush()
	resp := r.sync(away, since, "")
	r.same("after a day", r.told(resp), []string{"m.read " + reader + " " + last})
	for range 2 {
		r.clock.pass(dormancy)
		before := resp.NextBatch
		if resp = r.sync(away, before, ""); resp.NextBatch != before {
			t.Errorf("told again: %q", r.told(resp))
		}
	}
}
