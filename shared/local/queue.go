package local

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
)

// dedupFor is how long a FIFO queue remembers a deduplication id.
const dedupFor = 5 * time.Minute

// messages is a queue: the messages are in Pebble, their schedule in memory.
type messages struct {
	l *Local
	q *queue.Queue

	mu        sync.Mutex
	last      uint64
	seen      map[string]int64 // deduplication id → milliseconds of its end
	newest    *commit
	lanes     map[string]*lane // FIFO only, by group
	order     []*lane          // those with messages that nobody handles, by (at, number)
	busy      int              // messages being handled
	consumers int
	wakeup    chan struct{}
}

// A lane is what must be handled in order: a group of a FIFO queue, or a single
// message of another one.
type lane struct {
	group   string
	refs    []ref     // by number
	at      time.Time // not before
	delayed bool      // at is the sender's Delay
	busy    bool
}

type ref struct {
	n        uint64
	attempts int
}

func (l *Local) loadQueue(q *queue.Queue) (*messages, error) {
	m := &messages{l: l, q: q, seen: map[string]int64{}, lanes: map[string]*lane{}, wakeup: make(chan struct{}, 1)}
	_, dead, err := l.span(named(keyDead, q.Name), partEnd(named(keyDead, q.Name)))
	if err != nil {
		return nil, err
	}
	m.last = dead
	err = l.scan(named(keyMessage, q.Name), func(key, value []byte) error {
		s, err := decodeMessage(value)
		if err != nil {
			return err
		}
		m.last = max(m.last, number(key))
		m.add(ref{number(key), s.attempts}, s.Group, time.UnixMilli(s.at), s.Delay > 0 && s.attempts == 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, l.scan(named(keyDedup, q.Name), func(key, value []byte) error {
		if len(value) == 8 {
			m.seen[string(key[len(named(keyDedup, q.Name)):])] = int64(binary.BigEndian.Uint64(value))
		}
		return nil
	})
}

// stored is a message in Pebble.
type stored struct {
	queue.Message
	at       int64 // milliseconds, not before
	attempts int
}

func encodeMessage(s stored) []byte {
	b := make([]byte, 0, len(s.Body)+len(s.Group)+len(s.Dedup)+32)
	b = append(b, version1)
	b = binary.AppendVarint(b, s.at)
	b = binary.AppendVarint(b, int64(s.attempts))
	b = binary.AppendVarint(b, int64(s.Delay))
	for _, text := range []string{s.Group, s.Dedup, s.Body} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

func decodeMessage(b []byte) (s stored, err error) {
	if len(b) == 0 || b[0] != version1 {
		return s, fmt.Errorf("message: %w", errCorrupt)
	}
	d := reader{rest: b[1:]}
	s.at, s.attempts, s.Delay = d.varint(), int(d.varint()), time.Duration(d.varint())
	s.Group, s.Dedup, s.Body = string(d.take()), string(d.take()), string(d.take())
	if d.bad {
		return s, fmt.Errorf("message: %w", errCorrupt)
	}
	return s, nil
}

// sender implements queue.Sender.
type sender struct{ l *Local }

// Send implements queue.Sender.
func (s sender) Send(ctx context.Context, q *queue.Queue, msg queue.Message) (err error) {
	if err := grant.Check(ctx, grant.Queue, q.Name, grant.Send); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkMessage(q, msg); err != nil {
		return fmt.Errorf("send to %s: %w", q, err)
	}
	m := s.l.queues[q]
	if m == nil {
		return fmt.Errorf("send to %s: no such queue", q)
	}
	leave, err := s.l.enter(OpSend, true, q.Name, nil)
	if err != nil {
		return err
	}
	defer leave(&err)
	if err := m.send(msg); err != nil {
		return fmt.Errorf("send to %s: %w", q, err)
	}
	return nil
}

func checkMessage(q *queue.Queue, msg queue.Message) error {
	switch {
	case msg.Body == "":
		return errors.New("the body is empty")
	case len(msg.Body) > queue.MaxBody:
		return fmt.Errorf("the body has %d bytes; at most %d are sent", len(msg.Body), queue.MaxBody)
	case !utf8.ValidString(msg.Body):
		return errors.New("the body is not UTF-8")
	case msg.Delay < 0 || msg.Delay > queue.MaxDelay:
		return fmt.Errorf("a delay of %s; at most %s are allowed", msg.Delay, queue.MaxDelay)
	case q.FIFO && msg.Delay != 0:
		return errors.New("a FIFO queue does not delay")
	case q.FIFO && (msg.Group == "" || msg.Dedup == ""):
		return errors.New("a FIFO queue needs a group and a deduplication id")
	case !q.FIFO && (msg.Group != "" || msg.Dedup != ""):
		return errors.New("only a FIFO queue has groups and deduplication ids")
	case len(msg.Group) > 128 || len(msg.Dedup) > 128:
		return errors.New("a group or deduplication id has more than 128 bytes")
	}
	return nil
}

// send returns when the message is durable, or the one that it repeats.
func (m *messages) send(msg queue.Message) error {
	l := m.l
	now := l.clock.Now()
	c := &commit{durable: make(chan struct{})}
	batch := l.pdb.NewBatch()
	m.mu.Lock()
	if m.q.FIFO {
		if until, ok := m.seen[msg.Dedup]; ok && until > now.UnixMilli() {
			first := m.newest
			m.mu.Unlock()
			if first != nil {
				<-first.durable
			}
			return batch.Close()
		}
		until := now.Add(dedupFor).UnixMilli()
		m.seen[msg.Dedup] = until
		batch.Set(append(named(keyDedup, m.q.Name), msg.Dedup...), binary.BigEndian.AppendUint64(nil, uint64(until)), nil)
	}
	m.last++
	n, at := m.last, now.Add(msg.Delay)
	batch.Set(numbered(keyMessage, m.q.Name, n), encodeMessage(stored{Message: msg, at: at.UnixMilli()}), nil)
	m.newest = c
	if err := l.commit(batch, c, nil, m.mu.Unlock); err != nil {
		return err
	}
	m.mu.Lock()
	m.add(ref{n: n}, msg.Group, at, msg.Delay > 0)
	m.mu.Unlock()
	m.poke()
	return nil
}

// forgetDuplicates drops the deduplication ids of more than five minutes ago.
func (m *messages) forgetDuplicates() error {
	m.l.gate.RLock()
	defer m.l.gate.RUnlock()
	if err := m.l.err(); err != nil {
		return err
	}
	now := m.l.clock.Now().UnixMilli()
	batch := m.l.pdb.NewBatch()
	defer batch.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, until := range m.seen {
		if until > now {
			continue
		}
		delete(m.seen, id)
		if err := batch.Delete(append(named(keyDedup, m.q.Name), id...), nil); err != nil {
			return err
		}
	}
	if batch.Empty() {
		return nil
	}
	return m.l.pdb.Apply(batch, pebble.NoSync)
}

// add schedules a message. The caller holds mu.
func (m *messages) add(r ref, group string, at time.Time, delayed bool) {
	if !m.q.FIFO {
		m.enqueue(&lane{refs: []ref{r}, at: at, delayed: delayed})
		return
	}
	ln := m.lanes[group]
	if ln == nil {
		ln = &lane{group: group, at: at}
		m.lanes[group] = ln
	}
	i, _ := slices.BinarySearchFunc(ln.refs, r, func(a, b ref) int { return cmp.Compare(a.n, b.n) })
	ln.refs = slices.Insert(ln.refs, i, r)
	if len(ln.refs) == 1 && !ln.busy {
		m.enqueue(ln)
	}
}

// enqueue puts a lane in its place among those that wait. The caller holds mu.
func (m *messages) enqueue(ln *lane) {
	i, _ := slices.BinarySearchFunc(m.order, ln, byTime)
	m.order = slices.Insert(m.order, i, ln)
}

func byTime(a, b *lane) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.refs[0].n, b.refs[0].n))
}

// poke makes a consumer look.
func (m *messages) poke() {
	select {
	case m.wakeup <- struct{}{}:
	default:
	}
	m.l.activity.bump()
}

// settled reports whether the consumers have handled all that is due.
func (m *messages) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.consumers == 0 {
		return true
	}
	if m.busy > 0 {
		return false
	}
	now := m.l.clock.Now()
	for _, ln := range m.order {
		if !ln.delayed || !ln.at.After(now) {
			return false
		}
	}
	return true
}
