// Package queuetest is the contract of message queues as a test. It asks for
// what SQS guarantees and nothing else. Messages of others are ignored, so one
// pair of queues serves every test.
package queuetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
)

// Harness is an implementation to be tested.
type Harness struct {
	Sender queue.Sender
	// Consume delivers messages until ctx ends, as local.Consume does. A failed
	// message comes again within a few seconds.
	Consume func(ctx context.Context, q *queue.Queue, handle func(context.Context, []queue.Message) error) error
}

// Context returns ctx with grants to send to all queues.
func Context(ctx context.Context) context.Context {
	var set grant.Set
	for _, q := range queue.Queues {
		set = append(set, grant.SendTo(q.Name)...)
	}
	return grant.With(ctx, "queuetest", grant.Of(set), nil)
}

// Run tests the contract. open is called once for each test and registers its
// own cleanup.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Bodies", testBodies},
		{"SentBefore", testSentBefore},
		{"Errors", testErrors},
		{"Delay", testDelay},
		{"Order", testOrder},
		{"OrderAfterErrors", testOrderAfterErrors},
		{"OneBatchOfAGroup", testOneBatchOfAGroup},
		{"Duplicates", testDuplicates},
		{"Limits", testLimits},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{T: t, h: open(t), ctx: Context(t.Context()), id: rand.Text() + " "})
		})
	}
}

type suite struct {
	*testing.T
	h   Harness
	ctx context.Context
	id  string // begins the body of every message of the test

	mu  sync.Mutex
	got []queue.Message
}

func (s *suite) send(q *queue.Queue, m queue.Message) {
	s.Helper()
	m.Body = s.id + m.Body
	if q.FIFO {
		m.Group = s.id + m.Group
		if m.Dedup == "" {
			m.Dedup = rand.Text()
		}
	}
	if err := s.h.Sender.Send(s.ctx, q, m); err != nil {
		s.Fatalf("send: %v", err)
	}
}

// consume runs a consumer for the time of the test. It hands the messages of
// this test to handle, and collects those for which that returns nil.
func (s *suite) consume(q *queue.Queue, handle func([]queue.Message) error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error)
	go func() {
		done <- s.h.Consume(ctx, q, func(_ context.Context, ms []queue.Message) error {
			var mine []queue.Message
			for _, m := range ms {
				body, ok := strings.CutPrefix(m.Body, s.id)
				if m.Body = body; ok {
					m.Group = strings.TrimPrefix(m.Group, s.id)
					mine = append(mine, m)
				}
			}
			if len(mine) == 0 {
				return nil
			}
			if handle != nil {
				if err := handle(mine); err != nil {
					return err
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, mine...)
			return nil
		})
	}()
	s.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			s.Errorf("consume: %v", err)
		}
	})
}

// handled waits until n different bodies were handled and returns them in the
// order in which that happened first.
func (s *suite) handled(n int) (bodies []string) {
	s.Helper()
	for start := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		s.mu.Lock()
		bodies = nil
		for _, m := range s.got {
			if !slices.Contains(bodies, m.Body) {
				bodies = append(bodies, m.Body)
			}
		}
		s.mu.Unlock()
		if len(bodies) >= n {
			return bodies
		}
		if time.Since(start) > 20*time.Second {
			s.Fatalf("%d of %d messages after 20 s", len(bodies), n)
		}
	}
}

func testBodies(s *suite) {
	bodies := []string{
		"plain", "{\"json\": [1, 2]}", "Grüße \U0001F30D", "<&>\"\t\n",
		strings.Repeat("x", queue.MaxBody-len(s.id)),
	}
	for _, q := range queue.Queues {
		s.got = nil
		s.consume(q, func(ms []queue.Message) error {
			for _, m := range ms {
				if m.Attempt < 1 {
					s.Errorf("attempt %d", m.Attempt)
				}
				if q.FIFO != (m.Group == "group") {
					s.Errorf("%s: group %q", q, m.Group)
				}
			}
			return nil
		})
		for _, b := range bodies {
			m := queue.Message{Body: b}
			if q.FIFO {
				m.Group = "group"
			}
			s.send(q, m)
		}
		got := s.handled(len(bodies))
		slices.Sort(got)
		want := slices.Sorted(slices.Values(bodies))
		if !slices.Equal(got, want) {
			s.Errorf("%s: got %.40q", q, got)
		}
	}
}

func testSentBefore(s *suite) {
	for i := range 25 {
		s.send(queue.Work, queue.Message{Body: fmt.Sprint(i)})
	}
	s.consume(queue.Work, nil)
	s.handled(25)
}

func testErrors(s *suite) {
	var mu sync.Mutex
	attempts := map[string][]int{}
	s.consume(queue.Work, func(ms []queue.Message) error {
		mu.Lock()
		defer mu.Unlock()
		first := false
		for _, m := range ms {
			attempts[m.Body] = append(attempts[m.Body], m.Attempt)
			first = first || m.Attempt == 1
		}
		if first {
			return errors.New("not the first time")
		}
		return nil
	})
	for i := range 5 {
		s.send(queue.Work, queue.Message{Body: fmt.Sprint(i)})
	}
	s.handled(5)
	mu.Lock()
	defer mu.Unlock()
	for body, a := range attempts {
		if len(a) < 2 || a[0] != 1 || a[1] != 2 {
			s.Errorf("message %s: attempts %v", body, a)
		}
	}
}

func testDelay(s *suite) {
	sent := time.Now()
	s.consume(queue.Work, func(ms []queue.Message) error {
		for _, m := range ms {
			if after := time.Since(sent); m.Body == "later" && after < 900*time.Millisecond {
				s.Errorf("a delay of a second lasted %s", after)
			}
		}
		return nil
	})
	s.send(queue.Work, queue.Message{Body: "later", Delay: time.Second})
	s.send(queue.Work, queue.Message{Body: "now"})
	if got := s.handled(2); got[0] != "now" {
		s.Errorf("handled %v", got)
	}
}

// ordered checks that the messages of each group came in the order of their
// numbers.
func (s *suite) ordered(bodies []string) {
	s.Helper()
	next := map[string]int{}
	for _, b := range bodies {
		var group string
		var n int
		if _, err := fmt.Sscan(b, &group, &n); err != nil {
			s.Fatal(err)
		}
		if n != next[group] {
			s.Errorf("group %s: %d came instead of %d", group, n, next[group])
		}
		next[group] = n + 1
	}
}

func testOrder(s *suite) {
	const groups, each = 3, 30
	s.consume(queue.Inbound, nil)
	var wg sync.WaitGroup
	for g := range groups {
		wg.Go(func() {
			for i := range each {
				s.send(queue.Inbound, queue.Message{Body: fmt.Sprint("g", g, " ", i), Group: fmt.Sprint("g", g)})
			}
		})
	}
	wg.Wait()
	s.ordered(s.handled(groups * each))
}

func testOrderAfterErrors(s *suite) {
	s.consume(queue.Inbound, func(ms []queue.Message) error {
		for _, m := range ms {
			if m.Attempt == 1 && (m.Body == "a 0" || m.Body == "a 3") {
				return errors.New("not the first time")
			}
		}
		return nil
	})
	for i := range 6 {
		s.send(queue.Inbound, queue.Message{Body: fmt.Sprint("a ", i), Group: "a"})
		s.send(queue.Inbound, queue.Message{Body: fmt.Sprint("b ", i), Group: "b"})
	}
	s.ordered(s.handled(12))
}

func testOneBatchOfAGroup(s *suite) {
	var mu sync.Mutex
	busy := map[string]bool{}
	s.consume(queue.Inbound, func(ms []queue.Message) error {
		groups := map[string]bool{}
		for _, m := range ms {
			groups[m.Group] = true
		}
		mu.Lock()
		for g := range groups {
			if busy[g] {
				s.Errorf("group %s is handled twice at once", g)
			}
			busy[g] = true
		}
		mu.Unlock()
		time.Sleep(3 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		for g := range groups {
			busy[g] = false
		}
		return nil
	})
	for i := range 20 {
		s.send(queue.Inbound, queue.Message{Body: fmt.Sprint("a ", i), Group: "a"})
		s.send(queue.Inbound, queue.Message{Body: fmt.Sprint("b ", i), Group: "b"})
	}
	s.ordered(s.handled(40))
}

func testDuplicates(s *suite) {
	id := rand.Text()
	s.consume(queue.Inbound, nil)
	s.send(queue.Inbound, queue.Message{Body: "first", Group: "a", Dedup: id})
	s.send(queue.Inbound, queue.Message{Body: "repeated", Group: "a", Dedup: id})
	s.handled(1)
	s.send(queue.Inbound, queue.Message{Body: "repeated after it was handled", Group: "a", Dedup: id})
	s.send(queue.Inbound, queue.Message{Body: "other", Group: "a"})
	s.send(queue.Inbound, queue.Message{Body: "other b", Group: "b"})
	got := s.handled(3)
	slices.Sort(got)
	if !slices.Equal(got, []string{"first", "other", "other b"}) {
		s.Errorf("handled %q", got)
	}
}

func testLimits(s *suite) {
	for name, c := range map[string]struct {
		q *queue.Queue
		m queue.Message
	}{
		"no body":                   {queue.Work, queue.Message{}},
		"a body too large":          {queue.Work, queue.Message{Body: strings.Repeat("x", queue.MaxBody+1)}},
		"a delay too long":          {queue.Work, queue.Message{Body: "x", Delay: queue.MaxDelay + time.Second}},
		"a FIFO message delayed":    {queue.Inbound, queue.Message{Body: "x", Group: "a", Dedup: "b", Delay: time.Second}},
		"a FIFO message, no group":  {queue.Inbound, queue.Message{Body: "x", Dedup: "b"}},
		"a FIFO message, no dedup":  {queue.Inbound, queue.Message{Body: "x", Group: "a"}},
		"a FIFO body too large":     {queue.Inbound, queue.Message{Body: strings.Repeat("x", queue.MaxBody+1), Group: "a", Dedup: "b"}},
		"a body that is not UTF-8":  {queue.Work, queue.Message{Body: "\xff"}},
		"a delay that has a minus":  {queue.Work, queue.Message{Body: "x", Delay: -time.Second}},
		"a group where none can be": {queue.Work, queue.Message{Body: "x", Group: "a"}},
	} {
		if err := s.h.Sender.Send(s.ctx, c.q, c.m); err == nil {
			s.Errorf("%s: sent", name)
		}
	}
}
