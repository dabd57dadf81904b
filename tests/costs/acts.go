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
	wakes               float64 // messages to queues where clients wait
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
			u.requests++
			b[doorRequests], b[doorRuns] = 1, 1
			if r.Name == meter.GatewayStep {
				b[gatewayCalls] = 1
			} else if f.streams {
				b[streamedGB] = float64(max(0, r.Out-6<<20)) / (1 << 30)
			} else {
				b[gatewayCalls] = math.Max(1, math.Ceil(float64(max(r.In, r.Out))/(512<<10)))
			}
			b[doorOutGB] = (even(r.Out) + headersOut.value) / (1 << 30)
			b[doorInGB] = (even(r.In) + headersIn.value) / (1 << 30)
		} else if pushes && r.Name == "work" {
			b[outGB] = pushBytes.value / (1 << 30)
		}
		b[queueCalls] = 3*float64(r.Sent) + float64(r.Waits) // a message is sent, received, deleted
		if r.Name == meter.GatewayStep {
			u.bill = u.bill.plus(b)
			continue // no function runs
		}
		u.wakes += float64(r.Waits)
		if !r.Worker {
			ms += held * 1000
		}
		b[runs] = 1
		b[gbSeconds] = ms / 1000 * float64(f.memoryMB) / 1024
		b[readUnits], b[writeUnits] = r.Reads, r.Writes
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
	u.wakes *= n
	u.milliseconds *= n
	u.bytes *= n
	u.bill = u.bill.times(n)
	return u
}

// minus is what is used besides.
func (u usage) minus(o usage) usage {
	u.requests -= o.requests
	u.functions -= o.functions
	u.reads -= o.reads
	u.writes -= o.writes
	u.wakes -= o.wakes
	u.milliseconds -= o.milliseconds
	u.bytes -= o.bytes
	u.bill = u.bill.plus(o.bill.times(-1))
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
	// Nobody waits while the message is sent, and somebody fetches it who comes by
	// chance.
	send, fetch usage
	// Everybody waits, the sender too: woken is what a message uses besides, and
	// cycle what each of them uses to come back, be answered, and wait again; typed
	// is the same in a room where somebody typed lately.
	woken        usage
	cycle, typed usage
	// Everybody waits. A receipt is told to the others some seconds later, with those
	// that others sent meanwhile.
	receipt, told, typing usage
}

func meterRoom(size int) (ru roomUsage, err error) {
	w, err := newWorld(meter.InQueues)
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
	sent := 0
	var last string
	send := func(int) error { sent++; last, err = all[0].say(room, prose(sent)); return err }
	// everybody waits a minute after the last time, while something is done.
	everybody := func(do func(int) error) ([]meter.Run, error) {
		w.Pass(time.Minute)
		for _, p := range all {
			if err := p.wait(); err != nil {
				return nil, err
			}
		}
		return w.metered(1, do)
	}
	back := func() error {
		for _, p := range all {
			if err := p.comeBack(); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range all {
		if err := p.makeQueues(); err != nil {
			return ru, err
		}
	}
	for range 2 {
		if _, err := everybody(send); err != nil {
			return ru, err
		}
		if err := back(); err != nil {
			return ru, err
		}
	}
	rs, err := w.metered(messages, func(int) error {
		w.Pass(time.Minute) // what a function remembers of a room grows old
		return send(0)
	})
	if err != nil {
		return ru, err
	}
	ru.send = use("send 1 KB of text", size, messages, rs, 0, false)

	w.Pass(time.Minute)
	if rs, err = w.metered(1, send); err != nil {
		return ru, err
	}
	quiet := use("", size, 1, rs, 0, false)
	if rs, err = everybody(send); err != nil {
		return ru, err
	}
	ru.woken = use("all members wait, and are woken", size, 1, rs, 0, false).minus(quiet)
	if err := back(); err != nil {
		return ru, err
	}

	// Somebody fetches a message when it is there. Their client says since when.
	reader := all[len(all)-1]
	if err := errors.Join(send(0), w.Deliver()); err != nil {
		return ru, err
	}
	if rs, err = w.metered(4, func(int) error { return reader.do("GET", "/sync?timeout=30000&since="+reader.next, nil) }); err != nil {
		return ru, err
	}
	ru.fetch = use("a device that was away fetches it", size, 4, rs, 0, false)

	// cycle is a turn of one who waits.
	cycle := func(name string) (usage, error) {
		if _, err := everybody(send); err != nil {
			return usage{}, err
		}
		for _, p := range all[:len(all)-1] {
			if err := p.comeBack(); err != nil {
				return usage{}, err
			}
		}
		w.Pass(25 * time.Second) // so that its first queue is free
		rs, err := w.metered(1, func(int) error { return errors.Join(reader.comeBack(), reader.wait()) })
		return use(name, size, 1, rs, 0, false), err
	}
	if ru.cycle, err = cycle("a device that waits is woken, fetches it, and waits again"); err != nil {
		return ru, err
	}
	if rs, err = everybody(func(int) error {
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
	if size <= toldBelow {
		if err := back(); err != nil {
			return ru, err
		}
	}
	var typing []meter.Run
	for _, types := range []bool{true, false} {
		if rs, err = everybody(func(int) error {
			return reader.do("PUT", "/rooms/"+room+"/typing/"+reader.id, object{"typing": types, "timeout": 90_000})
		}); err != nil {
			return ru, err
		}
		typing = append(typing, rs...)
		if size <= hintedBelow {
			if err := back(); err != nil {
				return ru, err
			}
		}
	}
	ru.typing = use("typing begins or ends", size, 2, typing, 0, false)
	ru.typed, err = cycle("the same, where somebody typed in the last hour")
	return ru, err
}
