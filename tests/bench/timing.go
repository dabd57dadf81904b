package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A timing is what the clock says of an act.
type timing struct {
	p50, p99 time.Duration
	// alone and together are acts per second by 1 client and by a crowd.
	alone, together float64
	// cpu is the server's time for one act, that of its workers included.
	cpu time.Duration
	// reads and writes are the units of the act's requests, by the server's log.
	reads, writes float64
}

const crowd = 8

// measure times n acts of one client, and then 4n acts of a crowd.
func measure(c *child, a *act, n int) (t timing, err error) {
	many := cmp.Or(a.crowd, crowd)
	s := c.site(max(many, 64))
	defer s.http.CloseIdleConnections()

	// What an act takes at first, it takes only once.
	if _, err := run(c, s, a, 1, max(2, n/10)); err != nil {
		return t, err
	}
	alone, err := run(c, s, a, 1, n)
	if err != nil {
		return t, err
	}
	together := &laps{}
	if many > 1 {
		if together, err = run(c, s, a, many, 4*n); err != nil {
			return t, err
		}
		t.together = together.perSecond()
	}
	slices.Sort(alone.each)
	t.p50, t.p99 = percentile(alone.each, 50), percentile(alone.each, 99)
	t.alone = alone.perSecond()
	t.cpu = (alone.cpu + together.cpu) / time.Duration(len(alone.each)+len(together.each))
	if r := alone.logged.requests; r > 0 {
		t.reads, t.writes = alone.logged.reads/float64(r), alone.logged.writes/float64(r)
	}
	return t, nil
}

type laps struct {
	each   []time.Duration
	wall   time.Duration
	cpu    time.Duration
	logged logged
}

func (l *laps) perSecond() float64 { return float64(len(l.each)) / l.wall.Seconds() }

// run has so many clients do n acts together, at least one each.
func run(c *child, s *site, a *act, clients, n int) (*laps, error) {
	n = max(1, n/clients)
	lanes := make([]func(int) (time.Duration, error), clients)
	err := together(clients, func(i int) (err error) {
		if lanes[i], err = a.lane(s, n); err != nil {
			err = fmt.Errorf("prepare %s: %w", a.name, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	cpuBefore, err := c.cpu()
	if err != nil {
		return nil, err
	}
	before := c.logged(a.route)
	each := make([][]time.Duration, clients)
	begin := time.Now()
	err = together(clients, func(lane int) error {
		for i := range n {
			took, err := lanes[lane](i)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			each[lane] = append(each[lane], took)
		}
		return nil
	})
	l := &laps{wall: time.Since(begin), each: slices.Concat(each...)}
	if err != nil {
		return nil, err
	}
	after := c.logged(a.route)
	l.logged = logged{after.requests - before.requests, after.reads - before.reads, after.writes - before.writes}
	// The workers belong to the act.
	if err := s.settle(); err != nil {
		return nil, err
	}
	cpu, err := c.cpu()
	l.cpu = cpu - cpuBefore
	return l, err
}

// together does something n times at once.
func together(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// percentile is the smallest value that p per cent of them do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// The budgets of the process.
const (
	startBudget = 60 * time.Millisecond
	rssBudget   = 45 << 20
)

// A spread is what some runs measured.
type spread struct{ min, median, max float64 }

func spreadOf(values []float64) spread {
	slices.Sort(values)
	return spread{values[0], values[len(values)/2], values[len(values)-1]}
}

// starts measures the start of the process, in ms, on a new folder each time.
func starts(bin string, runs int) (spread, error) {
	var ms []float64
	for range runs {
		c, err := start(bin)
		if err != nil {
			return spread{}, err
		}
		ms = append(ms, float64(c.took.Microseconds())/1000)
		if err := c.stop(); err != nil {
			return spread{}, err
		}
	}
	return spreadOf(ms), nil
}

// idleAfter is when a server without requests has given memory back.
const idleAfter = 25 * time.Second

// memory measures the resident memory in MB after 30 requests of two people who
// register and talk: at once, and when the server has been idle for a while.
func memory(bin string, runs int) (busy, idle spread, err error) {
	var first, last []float64
	var mu sync.Mutex
	err = together(runs, func(int) (err error) {
		c, err := start(bin)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.stop()) }()
		if err := thirty(c.site(2)); err != nil {
			return err
		}
		now, err := c.rss()
		if err != nil {
			return err
		}
		time.Sleep(idleAfter)
		then, err := c.rss()
		mu.Lock()
		defer mu.Unlock()
		first, last = append(first, float64(now)/(1<<20)), append(last, float64(then)/(1<<20))
		return err
	})
	if err != nil {
		return busy, idle, err
	}
	return spreadOf(first), spreadOf(last), nil
}

// thirty makes 30 requests, that of start included.
func thirty(s *site) error {
	users, room, err := s.roomOf(2) // 4 of them
	if err != nil {
		return err
	}
	for range 10 {
		if err := users[0].send(room); err != nil {
			return err
		}
		if err := users[1].send(room); err != nil {
			return err
		}
	}
	next := ""
	for range 5 {
		answer, err := users[0].sync("timeout=0&since=" + next)
		if err != nil {
			return err
		}
		next = answer.Next
	}
	return nil
}
