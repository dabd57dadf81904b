package costs

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/tests/meter"
)

// A usage is what one time of an act uses, as the mean of several.
type usage struct {
	name string
	// size is how many members the room of the act has, where that matters.
	size int

	requests, functions float64
	reads, writes       float64
	milliseconds        float64 // of functions, assumed
	bytes               float64 // of bodies, both ways
	bill                bill
}

// functions by name.
func functions() map[string]function {
	all := map[string]function{}
	for _, r := range api.Routes() {
		all[r.Name] = function{memoryMB: r.Size.MemoryMB(), passwords: r.Name == "register" || r.Name == "login", streams: r.Streams()}
	}
	for _, w := range api.Workers() {
		all[w.Name] = function{memoryMB: w.Size.MemoryMB()}
	}
	return all
}

// use adds up what ran for so many times of an act. A request that holds its
// function does so for so many seconds longer.
func use(name string, size, times int, list []meter.Run, held float64, pushes bool) usage {
	known := functions()
	u := usage{name: name, size: size}
	for _, r := range list {
		f := known[r.Name]
		ms := f.milliseconds(r, pushes)
		var b bill
		if !r.Worker {
			ms += held * 1000
			u.requests++
			b[doorRequests], b[doorRuns] = 1, 1
			if f.streams {
				b[streamedGB] = float64(max(0, r.Out-6<<20)) / (1 << 30)
			} else {
				b[gatewayCalls] = math.Max(1, math.Ceil(float64(max(r.In, r.Out))/(512<<10)))
			}
			b[doorOutGB] = (even(r.Out) + headersOut.value) / (1 << 30)
			b[doorInGB] = (even(r.In) + headersIn.value) / (1 << 30)
		} else if pushes && r.Name == "work" {
			b[outGB] = pushBytes.value / (1 << 30)
		}
		b[runs] = 1
		b[gbSeconds] = ms / 1000 * float64(f.memoryMB) / 1024
		b[readUnits], b[writeUnits] = r.Reads, r.Writes
		b[queueCalls] = 3 * float64(r.Sent) // sent, received, deleted
		if r.Log > 0 {
			b[logGB] = (even(r.Log) + logLine.value) / (1 << 30)
		}
		u.functions++
		u.reads += r.Reads
		u.writes += r.Writes
		u.milliseconds += ms
		u.bytes += even(r.In) + even(r.Out)
		u.bill = u.bill.plus(b)
	}
	n := 1 / float64(times)
	u.requests *= n
	u.functions *= n
	u.reads *= n
	u.writes *= n
	u.milliseconds *= n
	u.bytes *= n
	u.bill = u.bill.times(n)
	return u
}

// even rounds bytes up: one in some hundred tokens is a byte shorter, since it
// holds a random number.
func even(bytes int) float64 { return float64((bytes + 63) / 64 * 64) }

// The rooms of the tables, by their active members; what lies between them is
// taken to be on the line between them.
var sizes = []int{2, 5, 10, 50, 100, 1000}

// messages is over how many messages, a minute apart, the mean is taken: every
// 32nd is indexed with those before it.
const messages = 32

// A roomUsage is what happens in a room of so many active members.
type roomUsage struct {
	// A receipt is told to the others some seconds later, with those that others
	// sent meanwhile.
	send, fetch, receipt, told, typing usage
}

func meterRoom(size int) (ru roomUsage, err error) {
	w, err := newWorld(inLambda)
	if err != nil {
		return ru, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	all, err := w.people(size)
	if err != nil {
		return ru, err
	}
	room, err := all[0].room(all[1:]...)
	if err != nil {
		return ru, err
	}
	reader := all[len(all)-1]
	next, err := reader.sync(`filter={"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`)
	if err != nil {
		return ru, err
	}
	next, err = reader.sync("timeout=0&since=" + next)
	if err != nil {
		return ru, err
	}
	var last string
	send := func(i int) error { last, err = all[0].say(room, prose(i)); return err }
	for i := range 2 {
		if err := errors.Join(send(i), w.Deliver()); err != nil {
			return ru, err
		}
	}
	rs, err := w.metered(messages, func(i int) error {
		w.Pass(time.Minute) // what a function remembers of a room grows old
		return send(i + 2)
	})
	if err != nil {
		return ru, err
	}
	ru.send = use("send 1 KB of text", size, messages, rs, 0, false)

	// Somebody fetches a message when it is there. Their client says since when.
	if next, err = reader.sync("timeout=0&since=" + next); err != nil {
		return ru, err
	}
	if err := errors.Join(send(messages+2), w.Deliver()); err != nil {
		return ru, err
	}
	if rs, err = w.metered(4, func(int) error { return reader.do("GET", "/sync?timeout=30000&since="+next, nil) }); err != nil {
		return ru, err
	}
	ru.fetch = use("a device that waits fetches it", size, 4, rs, 0, false)

	if rs, err = w.metered(1, func(i int) error {
		return reader.do("POST", "/rooms/"+room+"/receipt/m.read/"+last, object{})
	}); err != nil {
		return ru, err
	}
	tells := slices.IndexFunc(rs, func(r meter.Run) bool { return r.Name == "work" })
	if tells < 0 {
		return ru, errors.New("nobody is told of a receipt")
	}
	ru.receipt = use("a receipt", size, 1, rs[:tells], 0, false)
	ru.told = use("receipts are told to the others", size, 1, rs[tells:], 0, false)
	if rs, err = w.metered(2, func(i int) error {
		return reader.do("PUT", "/rooms/"+room+"/typing/"+reader.id, object{"typing": i == 0, "timeout": 30000})
	}); err != nil {
		return ru, err
	}
	ru.typing = use("typing begins or ends", size, 2, rs, 0, false)
	return ru, nil
}
