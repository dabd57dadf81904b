package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/virga-im/virga/shared/queue"
)

// maxMessages is how many messages a consumer gets at once.
const maxMessages = 10

// Consume calls handle with the messages of the queue until ctx or the Local
// ends, which is the error it returns after the calls under way have. Messages
// are delivered at least once, those of a FIFO group in order and one batch at
// a time, others concurrently. After an error the messages come again, one by
// one, each after a pause that grows, and after MaxAttempts become dead letters,
// which are kept. handle gets ctx.
func (l *Local) Consume(ctx context.Context, q *queue.Queue, handle func(context.Context, []queue.Message) error) error {
	m := l.queues[q]
	if m == nil {
		return fmt.Errorf("consume %s: no such queue", q)
	}
	m.mu.Lock()
	m.consumers++
	m.mu.Unlock()
	var handlers sync.WaitGroup
	defer func() {
		handlers.Wait()
		m.mu.Lock()
		m.consumers--
		m.mu.Unlock()
		m.poke()
	}()
	slots := make(chan struct{}, l.opt.Concurrency)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			return l.err()
		}
		batch, err := m.next(ctx)
		if err != nil {
			return err
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			m.handle(ctx, batch, handle)
		})
	}
}

// delivery is a batch that is being handled: messages of one FIFO lane, or of
// one lane each.
type delivery struct {
	lanes []*lane
	refs  []ref
}

// outcome is how a delivery ended.
type outcome uint8

const (
	done        outcome = iota
	failed              // counts as an attempt
	interrupted         // by the end of the consumer: never makes a dead letter
)

// next waits for messages that are due.
func (m *messages) next(ctx context.Context) (delivery, error) {
	for {
		if err := errors.Join(ctx.Err(), m.l.err()); err != nil {
			return delivery{}, err
		}
		d, wait := m.take()
		if len(d.refs) > 0 {
			return d, nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = m.l.clock.After(wait)
		}
		select {
		case <-m.wakeup:
		case <-timer:
			m.l.activity.bump() // a delay has passed
		case <-ctx.Done():
		case <-m.l.ended:
		}
	}
}

// take marks messages that are due as busy, or says how long to wait for the
// first one; zero is until somebody sends.
func (m *messages) take() (d delivery, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.l.clock.Now()
	for len(m.order) > 0 {
		ln := m.order[0]
		if left := ln.at.Sub(now); left > 0 {
			wait = left
			break
		}
		again := ln.refs[0].attempts > 0 // failed before: alone
		if again && len(d.refs) > 0 {
			break
		}
		n := 1
		if m.q.FIFO && !again {
			for n < min(len(ln.refs), maxMessages) && ln.refs[n].attempts == 0 {
				n++
			}
		}
		m.order = m.order[1:]
		ln.busy = true
		d.lanes = append(d.lanes, ln)
		d.refs = append(d.refs, ln.refs[:n]...)
		if again || m.q.FIFO || len(d.refs) == maxMessages {
			break
		}
	}
	m.busy += len(d.refs)
	if len(d.refs) > 0 && len(m.order) > 0 {
		select { // for another consumer
		case m.wakeup <- struct{}{}:
		default:
		}
	}
	return d, wait
}

// handle delivers a batch once and records how that went.
func (m *messages) handle(ctx context.Context, d delivery, handle func(context.Context, []queue.Message) error) {
	msgs, err := m.load(d)
	if err == nil {
		err = handle(ctx, msgs)
	}
	if err != nil && errors.Join(ctx.Err(), m.l.err()) != nil { // interrupted, which is not the message's fault
		m.finish(d, interrupted)
		m.poke()
		return
	}
	how := done
	if err != nil {
		how = failed
		m.l.log.ErrorContext(ctx, "handle messages", "queue", m.q.Name, "messages", len(d.refs), "attempt", d.refs[0].attempts+1, "error", err)
	}
	leave, err := m.l.enter(OpAck, true, m.q.Name, nil)
	if err == nil {
		err = m.record(d, how)
		leave(&err)
	}
	if err != nil { // they come again
		how = interrupted
		if m.l.err() == nil {
			m.l.log.ErrorContext(ctx, "record messages", "queue", m.q.Name, "error", err)
		}
	}
	m.finish(d, how)
	m.poke()
}

// load reads the messages of a delivery and counts the attempt. The count is
// durable before the delivery: a message that kills the process is delivered
// MaxAttempts times and not for ever.
func (m *messages) load(d delivery) ([]queue.Message, error) {
	m.l.gate.RLock()
	defer m.l.gate.RUnlock()
	if err := m.l.err(); err != nil {
		return nil, err
	}
	batch := m.l.pdb.NewBatch()
	defer batch.Close()
	var msgs []queue.Message
	for _, r := range d.refs {
		s, err := m.read(r.n)
		if err != nil {
			return nil, err
		}
		s.attempts++
		if err := batch.Set(numbered(keyMessage, m.q.Name, r.n), encodeMessage(s), nil); err != nil {
			return nil, err
		}
		s.Message.Attempt = s.attempts
		msgs = append(msgs, s.Message)
	}
	return msgs, m.l.pdb.Apply(batch, m.l.syncOptions())
}

func (m *messages) read(n uint64) (stored, error) {
	raw, closer, err := m.l.pdb.Get(numbered(keyMessage, m.q.Name, n))
	if err != nil {
		return stored{}, err
	}
	defer closer.Close()
	return decodeMessage(raw)
}

// record deletes what was handled, and moves to the dead letters what failed
// too often. It is not synced: after a crash of the machine messages come again.
func (m *messages) record(d delivery, how outcome) error {
	batch := m.l.pdb.NewBatch()
	defer batch.Close()
	for _, r := range d.refs {
		key := numbered(keyMessage, m.q.Name, r.n)
		if how == failed {
			if r.attempts+1 < m.l.opt.MaxAttempts {
				continue
			}
			s, err := m.read(r.n)
			if err != nil {
				return err
			}
			m.l.log.Error("dead letter", "queue", m.q.Name, "number", r.n, "attempts", s.attempts)
			if err := batch.Set(numbered(keyDead, m.q.Name, r.n), encodeMessage(s), nil); err != nil {
				return err
			}
		}
		if err := batch.Delete(key, nil); err != nil {
			return err
		}
	}
	if batch.Empty() {
		return nil
	}
	return m.l.pdb.Apply(batch, pebble.NoSync)
}

// finish puts the lanes back, without what was handled or is dead.
func (m *messages) finish(d delivery, how outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy -= len(d.refs)
	now := m.l.clock.Now()
	per := len(d.refs) / len(d.lanes)
	for _, ln := range d.lanes {
		mine := ln.refs[:per]
		var kept []ref
		ln.at, ln.delayed = now, false
		for _, r := range mine {
			if r.attempts++; how == interrupted || how == failed && r.attempts < m.l.opt.MaxAttempts {
				kept = append(kept, r)
				ln.at = now.Add(m.l.backoff(r.attempts))
			}
		}
		ln.refs = append(kept, ln.refs[per:]...)
		ln.busy = false
		if len(ln.refs) > 0 {
			m.enqueue(ln)
		} else if m.q.FIFO {
			delete(m.lanes, ln.group)
		}
	}
}

// DeadLetters returns the messages that failed too often, oldest first.
func (l *Local) DeadLetters(q *queue.Queue) ([]queue.Message, error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.err(); err != nil {
		return nil, err
	}
	var dead []queue.Message
	err := l.scan(named(keyDead, q.Name), func(_, value []byte) error {
		s, err := decodeMessage(value)
		s.Message.Attempt = s.attempts
		dead = append(dead, s.Message)
		return err
	})
	return dead, err
}
