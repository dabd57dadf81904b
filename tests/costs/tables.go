package costs

import (
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/route"
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

// messageCost is what a million messages cost in a room of so many: sent and told,
// and fetched by each of the others.
func (f *figures) messageCost(size int) (sent, fetched bill) {
	r := f.rooms[size]
	return r.send.bill.times(million), r.fetch.bill.times(million * float64(size-1))
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
	w.say("- **Unproven without an account**: that DynamoDB counts as our store does for every act (the stories run against an imitation); how streams cut batches, so how often workers run; " +
		"throttling and retries; how long anything takes; and everything about the hold in a queue, which is not built.\n")
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
	sent, fetched := f.messageCost(10)
	all := sent.plus(fetched)
	today, queue := doorFree(f.waits(month.Hours(), false).bill), doorFree(f.waits(month.Hours(), true).bill)
	stack := sum(f.idleStack())
	office, officeQueue := sum(f.office(50, false)), sum(f.office(50, true))
	w.say("## Aims\n")
	w.head("", "$", "<aim")
	row := func(what string, dollars, aim float64, b bill, free bool) {
		w.row(what, cents(dollars), verdict(dollars, aim, b, free))
	}
	row("a million messages to 10 active members, sent and told", sent.full(), aimMessage, sent, false)
	row("the same, and fetched by 9 waiting devices", all.full(), aimMessage, all, false)
	row("a device that waits all month, held by functions, with CloudFront's free tier", today.full(), aimDevice, today, false)
	row("the same, held by a queue (not built)", queue.full(), aimDevice, queue, false)
	row("an idle stack, a month", stack.full(), aimStack, stack, false)
	row("an office of 50, a month, after free", office.afterFree(), aimOffice, office, true)
	row("the same, waiting in a queue (not built)", officeQueue.afterFree(), aimOffice, officeQueue, true)
	w.say("\nWhat would reach those that are missed:\n")
	send, fetch := f.rooms[10].send, f.rooms[10].fetch
	w.say("- *A message that is fetched too.* Nine devices that each come back by a request of their own pay for front door and function before they read anything: %s of the %s. "+
		"Less of that takes fewer requests (several messages in one `/sync`, which a busy room does by itself), not cheaper ones. Of sending, %s read and %s write units, %s and %s are for each member; "+
		"a room that is pulled (today above %d active members, where a message a minute reads %s units: nearly all to ask who of the members has a pusher, which is remembered for a minute) writes %s, for %s reads more in each `/sync`.",
		money(fetched.part("CloudFront", false)+fetched.part("Lambda", false)), money(all.full()),
		number(send.reads), number(send.writes),
		number((f.rooms[100].send.reads-f.rooms[50].send.reads)/50), number((f.rooms[100].send.writes-f.rooms[50].send.writes)/50), pulled, number(f.rooms[1000].send.reads), number(f.rooms[1000].send.writes),
		number(f.rooms[1000].fetch.reads-fetch.reads))
	w.say("- *A device that waits*, today: the hold in a queue. With functions of 128 MB instead of %d it would be %s, and still missed.",
		route.Waiting.MemoryMB(), money(lighter(today).full()))
	w.say("- *A device that waits in a queue*: each 20 s are a call of the gateway (the wait) and two runs (`/sync`, the look after it), the calls %s a month. "+
		"If the front door sent a `/sync` whose `since` was just answered with nothing straight to its queue, it would be one run: about %s. "+
		"Clients that wait 40 s or longer could be held twice in a row, three runs instead of four.",
		money(queue.part("API Gateway", false)), money(queue.full()-firstLeg(queue)))
	w.say("- *The office*: waiting is %s of %s in functions, and %s of %s in queues (both full); what remains is what people say. Of the latter the gateway's calls are %s, of waits and of what people do: fewer waits, and news that come together, would bring it nearer.\n",
		money(f.waits(50*workdays*hoursOpen, false).bill.full()), money(office.full()),
		money(f.waits(50*workdays*hoursOpen, true).bill.full()), money(officeQueue.full()), money(officeQueue.part("API Gateway", false)))
}

// doorFree is a bill where only CloudFront's free tier is left for it: others
// have used the rest.
func doorFree(b bill) bill {
	b[doorRequests], b[doorRuns], b[doorOutGB] = 0, 0, 0
	return b
}

// firstLeg is what the first of the two runs of a hold costs in such a bill: half
// of what the two cost.
func firstLeg(b bill) float64 {
	return (b.part("Lambda", false) + b.part("DynamoDB", false) + b.part("CloudWatch", false)) / 2
}

// lighter is a bill whose functions have 128 MB instead of those that wait.
func lighter(b bill) bill {
	b[gbSeconds] *= 128 / float64(route.Waiting.MemoryMB())
	return b
}

func (f *figures) messageTable(w *writer) {
	w.say("## A message\n")
	w.say("1 KB of text, the mean of %d that come a minute apart, to active members of one room (active: a device has looked within a day). "+
		"Sending is the request, the fan-out to everybody's log, unread counts and the search index. Fetching is one `/sync` of each other member that waits already; waiting itself is [below](#a-device-that-waits). "+
		"Dollars a million messages.\n", messages)
	w.head("active members", "runs", "read units", "write units", "sent and told", "DynamoDB", "fetched by the others", "**all**", "after free")
	for _, n := range messageSizes {
		sent, fetched := f.messageCost(n)
		all := sent.plus(fetched)
		s := f.rooms[n].send
		w.row(fmt.Sprint(n), number(s.functions), number(s.reads), number(s.writes), cents(sent.full()), cents(sent.part("DynamoDB", false)),
			cents(fetched.full()), "**"+cents(all.full())+"**", cents(all.afterFree()))
	}
	w.say("\nAbove %d active members a room is pulled: nobody's log is written, and each `/sync` looks at the room instead.\n", pulled)
}

func (f *figures) deviceTable(w *writer) {
	w.say("## A device that waits\n")
	w.say("One client that is open day and night, in ten rooms where nothing happens. A function looks once a second and is held for %.0f s; "+
		"a queue would hold for 20 s without a function, for two runs and a call of the gateway. Dollars a month.\n", maxHold.Seconds())
	w.head(append(append([]string{"held by", "times", "read units"}, services[:6]...), "**full**", "with CloudFront's free tier", "after free")...)
	for _, queue := range []bool{false, true} {
		l := f.waits(month.Hours(), queue)
		name := "functions, today"
		if queue {
			name = "a queue (designed, not built)"
		}
		cells := []string{name, fmt.Sprintf("%.0f", l.n+nudge), number(l.bill[readUnits]/million) + " M"}
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
	for _, queue := range []bool{false, true} {
		var offices [][]line
		for _, n := range officeSizes {
			offices = append(offices, f.office(n, queue))
		}
		if queue {
			w.row("*waiting in a queue (not built), else as above*", "", "", "", "", "", "")
		}
		for i := range offices[0] {
			if queue && offices[0][i].bill == f.office(officeSizes[0], false)[i].bill {
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
	w.head("a month", "<waiting in functions, today", "<waiting in a queue (not built)")
	for _, d := range vps {
		w.row(money(d), f.crossing(d, false), f.crossing(d, true))
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
	w.say("Each with all that its workers do after it; the mean of several on a warm server. KB are of bodies. Milliseconds are of all its runs and assumed. Dollars a million, by service.\n")
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
		for _, u := range []usage{r.send, r.fetch, r.typing, r.receipt, r.told} {
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
	m := f.rooms[10]
	sent, fetched := m.send.bill.times(million), m.fetch.bill.times(9*million)
	all := sent.plus(fetched)
	w.row("a million messages to 10 active members, sent and told", cents(sent.full()), cents(sent.afterFree()), mark(sent.full(), aimMessage))
	w.row("the same, and fetched by the 9 others", cents(all.full()), cents(all.afterFree()), mark(all.full(), aimMessage))
	for _, queue := range []bool{false, true} {
		b, what := f.waits(month.Hours(), queue).bill, "a device that waits in `/sync` all month, today"
		if queue {
			what = "the same, waiting in a queue (designed, not built)"
		}
		w.row(what, cents(b.full()), cents(b.afterFree()), mark(doorFree(b).full(), aimDevice)+", at "+money(doorFree(b).full())+" with CloudFront's free tier alone")
	}
	stack := sum(f.idleStack())
	w.row("a stack where nothing happens, a month", cents(stack.full()), cents(stack.afterFree()), mark(stack.full(), aimStack))
	for _, n := range officeSizes {
		b, q := sum(f.office(n, false)), sum(f.office(n, true))
		aim, aimQueue := "", ""
		if n == 50 {
			aim, aimQueue = mark(b.afterFree(), aimOffice), mark(q.afterFree(), aimOffice)
		}
		w.row(fmt.Sprintf("an office of %d, a month, today", n), cents(b.full()), cents(b.afterFree()), aim)
		w.row("the same, waiting in a queue (designed, not built)", cents(q.full()), cents(q.afterFree()), aimQueue)
	}
	w.say("\nA VPS of $5 a month is cheaper %s today, and %s once clients wait in a queue; one of $20 %s, and %s.\n",
		f.crossing(5, false), f.crossing(5, true), f.crossing(20, false), f.crossing(20, true))
	return w.String()
}

// mark says whether an aim is reached.
func mark(dollars, aim float64) string {
	if dollars <= aim {
		return "≤ " + money(aim) + ": ok"
	}
	return "≤ " + money(aim) + ": missed"
}
