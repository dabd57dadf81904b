// Package costs computes what a homeserver costs on AWS, in dollars, and writes
// costs.md, routes.md, a picture, and the short table of the README:
//
//	go test ./tests/costs -update
//
// A test fails when they are stale, so a change that makes an act dearer shows
// them. They are computed from four things, and say which number is of which:
//
//   - metered: the server of tests/meter does the act and counts DynamoDB's
//     units, runs of functions, calls of queues and of the gateway, bytes of bodies and of the
//     log, in its request and in all workers that follow from it. The same acts
//     count the same on every machine.
//   - declared: memory of functions, intervals of timers and which workers follow
//     queues are read from the routes and workers that the stack is made from.
//   - prices: prices.go, in one list with their sources.
//   - assumed: how long functions run, headers, cold starts (assumed.go), and what
//     people do all month (office.go). No time is measured.
//
// What no test without an account can prove is in costs.md.
package costs

import (
	"sync"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws/places"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/tests/meter"
)

// figures are all that is metered.
type figures struct {
	rooms  map[int]roomUsage
	others others
	timers []meter.Run
}

// meterAll meters everything, a world beside the other.
func meterAll() (*figures, error) {
	f := &figures{rooms: map[int]roomUsage{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first error
	beside := func(do func() (put func(), err error)) {
		wg.Go(func() {
			put, err := do()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				put()
			} else if first == nil {
				first = err
			}
		})
	}
	for _, n := range sizes {
		beside(func() (func(), error) {
			ru, err := meterRoom(n)
			return func() { f.rooms[n] = ru }, err
		})
	}
	beside(func() (func(), error) {
		all, err := meterOthers()
		return func() { f.others = all }, err
	})
	beside(func() (func(), error) {
		rs, err := timers()
		return func() { f.timers = rs }, err
	})
	wg.Wait()
	return f, first
}

// The rooms that are pulled have more active members than that: see
// shared/timeline/pull.go.
const pulled = 500

// at is a bill of a room of so many active members: on the line between two rooms
// that were metered, and up to pulled on that through the two greatest below it.
func (f *figures) at(size int, of func(roomUsage) bill) bill {
	size = max(size, sizes[0])
	bills := func(n int) bill { return of(f.rooms[n]) }
	if size > pulled {
		return bills(sizes[len(sizes)-1])
	}
	last := len(sizes) - 2
	for i := 0; i < last; i++ {
		a, b := sizes[i], sizes[i+1]
		if size <= b || i == last-1 {
			t := float64(size-a) / float64(b-a)
			return bills(a).times(1 - t).plus(bills(b).times(t))
		}
	}
	return bill{}
}

const month = 30 * 24 * time.Hour

// pollsOfQueue is how often Lambda asks a queue in a month on behalf of a worker:
// five requests at a time, of 20 s each.
const pollsOfQueue = 5 * float64(month/(20*time.Second))

// A line of a sum is what something costs a month.
type line struct {
	what string
	n    float64 // how often
	bill bill    // of all of it
}

// idleStack is what is billed though nobody is there.
func (f *figures) idleStack() []line {
	var all []line
	for _, w := range api.Workers() {
		switch on := w.On.(type) {
		case route.Every:
			n := float64(month / time.Duration(on))
			var b bill
			for _, r := range f.timers {
				if r.Name == w.Name {
					b = use(w.Name, 0, 1, []meter.Run{r}, 0, false).bill
				}
			}
			b[timerRuns] = 1
			all = append(all, line{"`" + w.Name + "`, " + on.String(), n, b.times(n)})
		case *queue.Queue:
			var b bill
			b[queueCalls] = pollsOfQueue
			all = append(all, line{"Lambda asks the " + on.String() + " for messages", pollsOfQueue, b})
		}
	}
	var kept bill
	const empty = 0.02 // GB: the program, its template, and the tables of ten rooms
	kept[tableGB], kept[backupGB], kept[objectGB], kept[logKeptGB] = empty, empty, empty, empty
	return append(all, line{"20 MB of tables, their recovery, program and logs (assumed)", 1, kept})
}

func sum(lines []line) bill {
	var b bill
	for _, l := range lines {
		b = b.plus(l.bill)
	}
	return b
}

const waitingInQueues = "waiting at queues, without news"

// waits is what it costs that a device waits for so many hours, and nothing
// happens.
func (f *figures) waits(hours float64, queue bool) line {
	if queue {
		n := hours / places.Hold.Hours()
		return line{waitingInQueues, n, f.others[actHold].bill.times(n)}
	}
	n := hours * 3600 / heldHere.Seconds()
	return line{"waiting in functions", n, f.others[actWait].bill.times(n)}
}
