package costs

import (
	"fmt"
	"math"

	"github.com/virga-im/virga/shared/aws/places"
)

// An office is an organisation whose people do this all month. It is assumed, and
// rather busy; change it and run the test with -update to see your own.
const (
	workdays  = 21
	hoursOpen = 9 // a day, of one client on a desk; phones wake by push

	messagesADay  = 40 // of a person
	toOne         = 0.50
	toTeam        = 0.48 // rooms of ten, or of all where there are fewer
	toAll         = 0.02
	team          = 10
	receiptsEach  = 1.0 / 3 // of a reader, for a message
	typingEach    = 2       // begins and ends
	pushesADay    = 15      // of a person; each opens the app once
	pagesADay     = 20      // of older messages
	initialsMonth = 2
	searchesMonth = 10
	loginsMonth   = 1
	roomsMonth    = 1
	joinsMonth    = 3
	namesMonth    = 0.1
	monthsKept    = 12 // of messages, when the tables are counted
)

// hintedBelow is in how many members' rooms those who wait are woken when somebody
// types: see shared/timeline/typing.go.
const hintedBelow = 100

// toldBelow is in how many members' rooms receipts are told by themselves: see
// shared/rooms/receipts_tell.go. In greater ones they come with the next message.
const toldBelow = 50

// office is the month of so many people.
func (f *figures) office(people int, queue bool) []line { return f.officeWith(people, queue, true) }

// quietOffice is the month if nobody were woken by typing and receipts.
func (f *figures) quietOffice(people int) []line { return f.officeWith(people, true, false) }

// turns are the dollars of /sync in an office whose clients wait in queues.
func (f *figures) turns(people int) float64 {
	var b bill
	for _, l := range f.office(people, true) {
		if l.what == waitingInQueues || l.what == newsOfWaiting {
			b = b.plus(l.bill)
		}
	}
	return b.full()
}

const newsOfWaiting = "`/sync` with news (messages, typing, receipts), of all who wait"

func (f *figures) officeWith(people int, queue, ephemera bool) []line {
	p := float64(people)
	o := f.others
	var all []line
	add := func(what string, n float64, b bill) { all = append(all, line{what, n, b.times(n)}) }
	monthly := 0.0
	sent, receipts := line{what: "messages sent"}, line{what: "receipts"}
	typing, news := line{what: "typing begins or ends"}, line{what: newsOfWaiting}
	into := func(l *line, n float64, b bill) { l.n, l.bill = l.n+n, l.bill.plus(b.times(n)) }
	of := func(acts ...func(roomUsage) usage) func(roomUsage) bill {
		return func(r roomUsage) (b bill) {
			for _, act := range acts {
				u := act(r)
				b = b.plus(u.bill)
				if !queue || !ephemera && u.name != r.woken.name {
					b[queueCalls] -= u.wakes // a function that holds looks by itself
				}
			}
			return b
		}
	}
	back := func(r roomUsage) usage { return r.fetch }
	if queue {
		back = func(r roomUsage) usage { return r.typed }
	}
	for _, r := range []struct {
		size  int
		share float64
	}{{2, toOne}, {min(team, people), toTeam}, {people, toAll}} {
		n := p * messagesADay * workdays * r.share
		monthly += n
		size := max(r.size, 2)
		readers := float64(size - 1)
		into(&sent, n, f.at(r.size, of(func(r roomUsage) usage { return r.send }, func(r roomUsage) usage { return r.woken })))
		types := r.size
		if types > hintedBelow {
			types = most + 1 // as in the greatest room
		}
		into(&typing, n*typingEach, f.at(types, of(func(r roomUsage) usage { return r.typing })))
		into(&receipts, n*readers*receiptsEach, f.at(r.size, of(func(r roomUsage) usage { return r.receipt })))
		came := readers + 1 // the message
		if ephemera {
			came += readers * receiptsEach // their own receipts
		}
		if ephemera && r.size <= hintedBelow {
			came += readers + 1 // that somebody types; that it ends comes with the message
		}
		if r.size <= toldBelow {
			if ephemera {
				came += readers
			}
			receipts.bill = receipts.bill.plus(f.at(r.size, of(func(r roomUsage) usage { return r.told })).times(n))
		}
		into(&news, n*came, f.at(r.size, of(back)))
	}
	all = append(all, sent, typing, receipts, news)
	all = append(all, f.waits(idleHours(p*workdays*hoursOpen, news.n, queue), queue))
	push := o[actPush].bill.plus(f.rooms[2].send.bill.times(-1), f.rooms[10].fetch.bill)
	add("pushes to phones, and the app opens", p*workdays*pushesADay, push)
	add("pages of older messages", p*workdays*pagesADay, o[actMessages].bill)
	add("initial `/sync`", p*initialsMonth, o[actInitial].bill)
	rest := o[actSearch].bill.times(searchesMonth).plus(o[actLogin].bill.times(loginsMonth),
		o[actCreate].bill.times(roomsMonth), o[actJoin].bill.times(joinsMonth), o[actName].bill.times(namesMonth))
	add("searches, logins, new rooms, joins, names", p, rest)
	var kept bill
	kept[tableGB] = monthly * monthsKept * messageGB.value / (1 << 30)
	kept[backupGB] = kept[tableGB]
	kept[logKeptGB] = sum(all)[logGB]
	add("tables after a year, their recovery, a month of logs", 1, kept)
	return append(all, line{"the stack itself, idle", 1, sum(f.idleStack())})
}

// idleHours are how many hours of holds end without news, of so many in which clients
// wait, if so many news come by chance: each ends a hold and begins another, so
// that fewer reach their end. A function is held all the time.
func idleHours(hours, news float64, queue bool) float64 {
	if !queue {
		return hours
	}
	aHold := news / (hours * 3600) * places.Hold.Seconds()
	return news / math.Expm1(aHold) * places.Hold.Hours()
}

// volumes says in words what an office is taken to do.
func volumes() string {
	return fmt.Sprintf("%d working days a month. Each person has one desktop client open for %d hours a day, and a phone that wakes by push; "+
		"sends %d messages of 1 KB a day, %.0f %% to one other person, %.0f %% to a team of %d (or all, where there are fewer), %.0f %% to all; "+
		"says twice for each message that they type, and sends a receipt for every third message that they get. Everybody's desktop client waits "+
		"while others write. It is woken for each message, the sender's too, when somebody types (in rooms of up to %d), for each round of receipts (up to %d) and for its own, by chance and each by itself: that is the most there can be. "+
		"Per person and day %d pushes that each open the app, and %d pages of older messages; a month %d initial `/sync`s, %d searches, %d login, %d new room, %d joins, and a new name every ten months. "+
		"Tables hold %d months of messages. No media, encryption or federation: they are not served yet, and will add to this.",
		workdays, hoursOpen, messagesADay, toOne*100, toTeam*100, team, toAll*100, hintedBelow, toldBelow, pushesADay, pagesADay,
		initialsMonth, searchesMonth, loginsMonth, roomsMonth, joinsMonth, monthsKept)
}

// dearerThan is how many people an office has from which it costs more than that,
// in an account with its free tier, or 0 if none up to most does.
func (f *figures) dearerThan(dollars float64, queue bool) int {
	for n := 1; n <= most; n++ {
		if sum(f.office(n, queue)).afterFree() > dollars {
			return n
		}
	}
	return 0
}

// most is how many people the greatest office has that is computed.
const most = pulled
