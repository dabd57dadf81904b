package costs

import (
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/aws/places"
)

// What we mean to reach, in dollars.
const (
	aimMessage = 30.00 // a million messages to 10 active members, all-in
	aimDevice  = 0.55  // a waiting device and month, CloudFront's requests being free
	aimStack   = 0.50  // an idle stack and month
	aimOffice  = 10.00 // an office of 50 and month, in an account with its free tier
)

// verdict compares, and says what dominates.
func verdict(dollars, aim float64, b bill, free bool) string {
	service, share := b.dominant(free)
	most := fmt.Sprintf("%s is %.0f %% of it", service, share*100+nudge)
	if dollars <= aim {
		return fmt.Sprintf("≤ %s: ok (%s)", money(aim), most)
	}
	return fmt.Sprintf("≤ %s: **missed** (%s)", money(aim), most)
}

// Processors differ in the last place of what they add. What lies just
// between two figures becomes the greater one on all of them.
const nudge = 1e-7

func money(d float64) string { return fmt.Sprintf("$%.2f", d+nudge) }

// cents drops what is less than half a cent.
func cents(d float64) string {
	if d+nudge < 0.005 {
		return "–"
	}
	return fmt.Sprintf("%.2f", d+nudge)
}

func mills(d float64) string { return fmt.Sprintf("%.3f", d+nudge) }

// number has at most one place after the point.
func number(n float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", n+nudge), ".0") }

type writer struct{ strings.Builder }

func (w *writer) say(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// head begins a table. Its first column has words, and so has one whose name
// begins with <; the others have numbers.
func (w *writer) head(cells ...string) {
	rule := "|"
	for i, c := range cells {
		cells[i] = strings.TrimPrefix(c, "<")
		if i == 0 || cells[i] != c {
			rule += " --- |"
		} else {
			rule += " --: |"
		}
	}
	w.row(cells...)
	w.say("%s", rule)
}

func (w *writer) row(cells ...string) { w.say("| %s |", strings.Join(cells, " | ")) }

// messageCost is what a million messages cost in a room of so many: sent and told
// while nobody waits; the waking of all members; and that they come back, are
// answered, and wait again.
func (f *figures) messageCost(size int) (sent, woken, back bill) {
	r := f.rooms[size]
	return r.send.bill.times(million), r.woken.bill.times(million), r.cycle.bill.times(million * float64(size))
}

var messageSizes = []int{2, 10, 100, 1000}

// report is costs.md.
func (f *figures) report() string {
	var w writer
	w.say("# What it costs\n")
	w.say("Written by `go test ./tests/costs -update`; the package comment says how. Dollars without taxes, prices of %s as known on %s, a month of 30 days. "+
		"Nothing here has met a real bill.\n", priceRegion, priceDate)
	w.say("- **Metered**: requests, runs of functions, read and write units, messages of queues, bytes of bodies and logs. They are counted in the server itself, in each request and in all that its workers do after it.")
	w.say("- **Assumed**: how long functions run, cold starts, headers ([below](#assumed)), and what people do all month ([below](#an-office)).")
	w.say("- **Unproven without an account**: that DynamoDB counts as our store does (an imitation of it does, for the requests of [tests/rehearsal](../rehearsal/units_test.go)); how streams cut batches, so how often workers run; " +
		"throttling and retries; how long anything takes; and that the gateway waits at a queue as its documentation says. The queues of the meter are an imitation.")
	w.say("- **Who waits**: a client that has nothing to be told waits at a queue of SQS for 20 s at a time, as the stack does by default (`-c sync=sqs`). A turn is `/sync`, a call of the gateway that waits at the queue, and the request that answers. " +
		"To wake somebody is a message to the queue. `-c sync=lambda` holds clients in functions and is here to compare.\n")
	w.say("Full is without any free tier. After free is what is left in an account that does nothing else, by the free tiers that do not end; a free tier is not for each act, so a table's rows must not be added.\n")
	f.aims(&w)
	f.messageTable(&w)
	f.deviceTable(&w)
	f.stackTable(&w)
	f.officeTables(&w)
	f.actTable(&w)
	f.assumedTable(&w)
	priceTable(&w)
	return w.String()
}

func (f *figures) aims(w *writer) {
	sent, woken, back := f.messageCost(10)
	told := sent.plus(woken)
	all := told.plus(back)
	queue, functions := doorFree(f.waits(month.Hours(), true).bill), doorFree(f.waits(month.Hours(), false).bill)
	stack := sum(f.idleStack())
	office, inFunctions := sum(f.office(50, true)), sum(f.office(50, false))
	w.say("## Aims\n")
	w.head("", "$", "<aim")
	row := func(what string, dollars, aim float64, b bill, free bool) {
		w.row(what, cents(dollars), verdict(dollars, aim, b, free))
	}
	row("a million messages to 10 active members, sent and told, nobody waits", sent.full(), aimMessage, sent, false)
	row("the same, all 10 wait and are woken", told.full(), aimMessage, told, false)
	row("the same, and they come back, are answered, and wait again", all.full(), aimMessage, all, false)
	row("a device that waits all month, with CloudFront's free tier", queue.full(), aimDevice, queue, false)
	row("the same, `-c sync=lambda`", functions.full(), aimDevice, functions, false)
	row("an idle stack, a month", stack.full(), aimStack, stack, false)
	row("an office of 50, a month, after free", office.afterFree(), aimOffice, office, true)
	row("the same, `-c sync=lambda`", inFunctions.afterFree(), aimOffice, inFunctions, true)
	w.say("\nWhat would reach those that are missed:\n")
	send, turn := f.rooms[10].send, f.rooms[10].cycle.bill.times(million)
	w.say("- *A message to those who wait.* To wake ten is %.0f messages to queues: %s. "+
		"Of sending, %s read and %s write units, %s and %s are for each member.",
		f.rooms[10].woken.wakes, money(woken.full()), number(send.reads), number(send.writes),
		number((f.rooms[100].send.reads-f.rooms[50].send.reads)/50), number((f.rooms[100].send.writes-f.rooms[50].send.writes)/50))
	w.say("- *A message that is fetched too.* Each of ten devices takes a turn: %s a million, of which front door, gateway and queues are %s before anything is read. "+
		"Fewer turns make it cheaper: several messages in one, which a busy room does by itself.",
		money(turn.full()), money(turn.part("CloudFront", false)+turn.part("API Gateway", false)+turn.part("SQS", false)))
	quiet := sum(f.quietOffice(50))
	w.say("- *The office*: %s of %s (full) are turns of who waits, with news or without. If those who wait were woken by messages alone, and saw who types and who has read what with the next one, it would be %s after free.\n",
		money(f.turns(50)), money(office.full()), money(quiet.afterFree()))
}

// doorFree is a bill where only CloudFront's free tier is left for it: others
// have used the rest.
func doorFree(b bill) bill {
	b[doorRequests], b[doorRuns], b[doorOutGB] = 0, 0, 0
	return b
}

func (f *figures) messageTable(w *writer) {
	w.say("## A message\n")
	w.say("1 KB of text, the mean of %d that come a minute apart, to active members of one room (active: a device has looked within a day). "+
		"Sending is the request, the fan-out to everybody's log, unread counts and the search index, and looking who waits. If all members wait, the sender too, each is woken, comes back to be answered, and goes to wait again. "+
		"That cuts a turn short which had to be paid anyway, by chance in its middle, so it adds about half of what it costs. [Each route](routes.md) has a table of its own. Dollars a million messages.\n", messages)
	w.head("active members", "runs", "read units", "write units", "sent and told, nobody waits", "DynamoDB", "all are woken", "all come back", "**all**", "after free")
	for _, n := range messageSizes {
		sent, woken, back := f.messageCost(n)
		all := sent.plus(woken, back)
		s := f.rooms[n].send
		w.row(fmt.Sprint(n), number(s.functions), number(s.reads), number(s.writes), cents(sent.full()), cents(sent.part("DynamoDB", false)),
			cents(woken.full()), cents(back.full()), "**"+cents(all.full())+"**", cents(all.afterFree()))
	}
	w.say("\nAbove %d active members a room is pulled: nobody's log is written, and each `/sync` looks at the room instead.\n", pulled)
}

// holder names who holds a client.
func holder(queue bool) string {
	if queue {
		return "queues"
	}
	return "functions, `-c sync=lambda`"
}

func (f *figures) deviceTable(w *writer) {
	w.say("## A device that waits\n")
	w.say("One client that is open day and night, in ten rooms where nothing happens. A queue holds it for %.0f s without a function, for two runs and a call of the gateway; "+
		"a function looks once a second and holds it for %.0f s. Dollars a month.\n", places.Hold.Seconds(), heldHere.Seconds())
	w.head(append(append([]string{"held by", "times", "read units"}, services[:6]...), "**full**", "with CloudFront's free tier", "after free")...)
	for _, queue := range []bool{true, false} {
		l := f.waits(month.Hours(), queue)
		cells := []string{holder(queue), fmt.Sprintf("%.0f", l.n+nudge), number(l.bill[readUnits]/million) + " M"}
		for _, s := range services[:6] {
			cells = append(cells, cents(l.bill.part(s, false)))
		}
		w.row(append(cells, "**"+cents(l.bill.full())+"**", cents(doorFree(l.bill).full()), cents(l.bill.afterFree()))...)
	}
	w.say("")
}

func (f *figures) stackTable(w *writer) {
	w.say("## An idle stack\n")
	w.say("Nobody is there. Timers run over ten rooms at rest; streams cost nothing while nothing changes, and their reads by functions never do; no VPC, keys, secrets or alarms are part of the stack. Dollars a month.\n")
	w.head("", "times", "full", "after free")
	lines := f.idleStack()
	for _, l := range lines {
		w.row(l.what, fmt.Sprintf("%.0f", l.n+nudge), mills(l.bill.full()), mills(l.bill.afterFree()))
	}
	w.row("**all**", "", "**"+cents(sum(lines).full())+"**", "**"+mills(sum(lines).afterFree())+"**")
	w.say("\nTimers read more in a server with many rooms that change. Recovery to any second is $0.20 a GB and month, without a least amount, in stage prod alone.\n")
}

var officeSizes = []int{5, 50, 500}

func (f *figures) officeTables(w *writer) {
	w.say("## An office\n")
	w.say("%s\n", volumes())
	w.say("Dollars a month, full but for the last line of each part.\n")
	w.head("", "5 people", "$", "50 people", "$", "500 people", "$")
	for _, queue := range []bool{true, false} {
		var offices [][]line
		for _, n := range officeSizes {
			offices = append(offices, f.office(n, queue))
		}
		if !queue {
			w.row("*`-c sync=lambda`, else as above*", "", "", "", "", "", "")
		}
		for i := range offices[0] {
			if !queue && offices[0][i].bill == f.office(officeSizes[0], true)[i].bill {
				continue
			}
			cells := []string{offices[0][i].what}
			for _, o := range offices {
				cells = append(cells, fmt.Sprintf("%.0f", o[i].n+nudge), cents(o[i].bill.full()))
			}
			w.row(cells...)
		}
		full, free := []string{"**all**"}, []string{"**all, after free**"}
		for _, o := range offices {
			full = append(full, "", "**"+cents(sum(o).full())+"**")
			free = append(free, "", "**"+cents(sum(o).afterFree())+"**")
		}
		w.row(full...)
		w.row(free...)
	}
	w.say("\n### Where a small VPS is cheaper\n")
	w.say("A machine of $5 or $20 a month runs `go run ./infra/local` for as many people as fit it, and is yours to keep alive, back up and update. By these prices and this office, after free, it is cheaper:\n")
	w.head("a month", "<waiting in queues", "<`-c sync=lambda`")
	for _, d := range vps {
		w.row(money(d), f.crossing(d, true), f.crossing(d, false))
	}
	w.say("")
}

// vps is what small machines cost a month.
var vps = []float64{5, 20}

func (f *figures) crossing(dollars float64, queue bool) string {
	n := f.dearerThan(dollars, queue)
	if n == 0 {
		return fmt.Sprintf("not up to %d people", most)
	}
	return fmt.Sprintf("from %d people", n)
}

func (f *figures) actTable(w *writer) {
	w.say("## Acts\n")
	w.say("Each with all that its workers do after it; the mean of several on a warm server. Nobody waits unless it says so, but for typing and receipts: there all members do, and are woken. A line that begins with \"all\" comes on top of the one before it. KB are of bodies. Milliseconds are of all its runs and assumed. Dollars a million, by service.\n")
	w.head(append(append([]string{"act", "requests", "runs", "read units", "write units", "ms", "KB"}, services[:6]...), "other", "**full**", "after free")...)
	row := func(name string, u usage) {
		b := u.bill.times(million)
		cells := []string{name, number(u.requests), number(u.functions), number(u.reads), number(u.writes), fmt.Sprintf("%.0f", u.milliseconds+nudge), number(u.bytes / 1024)}
		other := b.full()
		for _, s := range services[:6] {
			cells = append(cells, cents(b.part(s, false)))
			other -= b.part(s, false)
		}
		w.row(append(cells, cents(other), "**"+cents(b.full())+"**", cents(b.afterFree()))...)
	}
	for _, n := range sizes {
		r := f.rooms[n]
		for _, u := range []usage{r.send, r.woken, r.fetch, r.cycle, r.typed, r.typing, r.receipt, r.told} {
			if n == sizes[1] && u.name != r.send.name || u.name == r.told.name && n > toldBelow {
				continue
			}
			row(fmt.Sprintf("%s, %d members", u.name, n), u)
		}
	}
	for _, name := range otherNames {
		row(name, f.others[name])
	}
	w.say("\nRooms between two of these sizes are taken to be on the line between them; from 100 to %d members on the line through 50 and 100.\n", pulled)
}

func (f *figures) assumedTable(w *writer) {
	w.say("## Assumed\n")
	w.head("", "value", "<why")
	for _, a := range assumptions {
		w.row(a.what, strings.TrimSpace(fmt.Sprintf("%v %s", a.value, a.unit)), a.why)
	}
	w.say("\nA run takes what it computes, and a call of the store for each metered one: the first %d one after another, the others %d at a time. "+
		"A message of a queue is three calls, and each is delivered alone. Changes of a request come to a worker in one batch.\n", inSequence, atATime)
}

func priceTable(w *writer) {
	w.say("## Prices\n")
	w.say("%s, %s. API Gateway's free calls end after a year and new accounts do not have them; credits of new accounts are spent once. Neither is counted.\n", priceRegion, priceDate)
	w.head("", "$", "for", "free a month", "<source")
	count := func(n float64) string {
		if n >= million {
			return number(n/million) + " M"
		}
		return fmt.Sprint(n)
	}
	for _, p := range prices {
		free := "–"
		if p.free > 0 {
			free = count(p.free)
		}
		w.row(p.service+": "+p.what, fmt.Sprint(p.dollars), count(p.per), free, p.source)
	}
}

// short is the table of the README.
func (f *figures) short() string {
	var w writer
	w.say("\n")
	w.head("", "full", "after free tiers", "<aim")
	row := func(what string, b bill, aim string) { w.row(what, cents(b.full()), cents(b.afterFree()), aim) }
	sent, woken, back := f.messageCost(10)
	told := sent.plus(woken)
	row("a million messages to 10 active members, sent and told", sent, mark(sent.full(), aimMessage))
	row("the same, all 10 wait in `/sync` and are woken", told, mark(told.full(), aimMessage))
	row("the same, and they come back, are answered, and wait again", told.plus(back), mark(told.plus(back).full(), aimMessage))
	device := f.waits(month.Hours(), true).bill
	row("a device that waits in `/sync` all month", device, mark(doorFree(device).full(), aimDevice)+", at "+money(doorFree(device).full())+" with CloudFront's free tier alone")
	row("the same, held in functions (`-c sync=lambda`)", f.waits(month.Hours(), false).bill, "")
	stack := sum(f.idleStack())
	row("a stack where nothing happens, a month", stack, mark(stack.full(), aimStack))
	for _, n := range officeSizes {
		b, aim := sum(f.office(n, true)), ""
		if n == 50 {
			aim = mark(b.afterFree(), aimOffice)
		}
		row(fmt.Sprintf("an office of %d, a month", n), b, aim)
	}
	row(fmt.Sprintf("an office of %d, held in functions", 50), sum(f.office(50, false)), "")
	w.say("\nA VPS of $5 a month is cheaper %s, one of $20 %s.\n", f.crossing(5, true), f.crossing(20, true))
	return w.String()
}

// mark says whether an aim is reached.
func mark(dollars, aim float64) string {
	if dollars <= aim {
		return "≤ " + money(aim) + ": ok"
	}
	return "≤ " + money(aim) + ": missed"
}
