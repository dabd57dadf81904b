package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An act is something that users do all day.
type act struct {
	name string
	// route is the operation that answers it.
	route string
	// password says that it hashes one: it is done less often, on a server that
	// hashes as it does for people.
	password bool
	// untimed acts have units only, and unitless ones a time.
	untimed, unitless bool
	// crowd is how many clients are a crowd, 8 if zero, and rare by how much the act
	// is done less often, for what takes long to prepare.
	crowd, rare int
	// aim is what we mean to reach.
	aim aim
	// wakes says that the time is that of a wake-up, so that acts per second mean
	// nothing, and that the units are those of two requests at once.
	wakes bool
	// budget is that of data-model.md; nil where it has none.
	budget *budget
	// limit is what the act may consume on a warm server before the test fails:
	// the budget or, where the act is over it or there is none, what it takes
	// today. Whoever makes it cheaper lowers the limit.
	limit limit
	// over says why the limit is above the budget.
	over string
	// lane prepares n times of the act for one client. Times of acts that take
	// more than their own request are those that do returns.
	lane func(s *site, n int) (do func(i int) (time.Duration, error), err error)
}

// An aim is a time of one client, acts per second of one client or of a crowd, and
// the server's time for an act. What is zero has no aim.
type aim struct {
	p50       time.Duration
	perSecond float64
	cpu       time.Duration
}

// String says what is aimed at.
func (a aim) String() string {
	var all []string
	if a.p50 != 0 {
		all = append(all, "≤ "+a.p50.String())
	}
	if a.perSecond != 0 {
		all = append(all, fmt.Sprintf("≥ %.0f/s", a.perSecond))
	}
	if a.cpu != 0 {
		all = append(all, "≤ "+a.cpu.String()+" CPU")
	}
	return strings.Join(all, ", ")
}

// verdict compares.
func (a aim) verdict(t timing) string {
	if a == (aim{}) {
		return ""
	}
	if a.p50 != 0 && t.p50 > a.p50 || a.perSecond != 0 && max(t.alone, t.together) < a.perSecond || a.cpu != 0 && t.cpu > a.cpu {
		return a.String() + ": **missed**"
	}
	return a.String() + ": ok"
}

// A cost is what an act consumes: in its request, and in the workers that it
// gives something to do.
type cost struct{ reads, writes, workReads, workWrites float64 }

// A budget is what data-model.md allows: reads in the request, and writes in all.
type budget struct{ reads, writes float64 }

// A limit is a budget that also bounds the reads of the workers.
type limit struct{ reads, writes, workReads float64 }

// verdict compares.
func (b *budget) verdict(c cost) string {
	switch {
	case b == nil:
		return "no budget"
	case c.reads > b.reads && c.writes+c.workWrites > b.writes:
		return "**over** in reads and writes"
	case c.reads > b.reads:
		return "**over** in reads"
	case c.writes+c.workWrites > b.writes:
		return "**over** in writes"
	}
	return "ok"
}

// The budgets of data-model.md for a room of so many active local members, all
// of them told: those after a join, and those before a leave.
func sendBudget(members float64) *budget  { return &budget{6, 10 + 2*members} }
func stateBudget(members float64) *budget { return &budget{10, 18 + 4 + 2*members} }

const fanRow = "the fan-out moves its FAN# row"

var acts = []act{
	{
		name: "register", route: "register", password: true,
		limit: limit{1, 10, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			return timed(func(int) error { _, err := s.register(); return err }), nil
		},
	},
	{
		name: "login", route: "login", password: true,
		limit: limit{2, 6, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			u, err := s.register()
			return timed(func(int) error {
				device := &user{site: s}
				return device.call("POST", "/v3/login", object{
					"type": "m.login.password", "password": password,
					"identifier": object{"type": "m.id.user", "user": u.name},
				}, device)
			}), err
		},
	},
	{
		name: "whoami", route: "getTokenOwner", budget: &budget{1, 0},
		limit: limit{1, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			u, err := s.register()
			return timed(func(int) error { return u.call("GET", "/v3/account/whoami", nil, nil) }), err
		},
	},
	{
		name: "createRoom", route: "createRoom", aim: aim{perSecond: 200},
		limit: limit{5, 60, 10},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			u, err := s.register()
			return timed(func(int) error { _, err := u.room(); return err }), err
		},
	},
	{name: "send 1 KB to 2 members", route: "sendMessage", budget: sendBudget(2), limit: limit{6, 15, 10}, over: fanRow,
		aim: aim{p50: time.Millisecond, cpu: 500 * time.Microsecond}, lane: sendTo(2)},
	{name: "send 1 KB to 2 members, 16 senders", route: "sendMessage", unitless: true, crowd: 16, aim: aim{perSecond: 2500}, lane: sendTo(2)},
	{name: "send 1 KB to 10 members", route: "sendMessage", budget: sendBudget(10), limit: limit{6, 31, 34}, over: fanRow, lane: sendTo(10)},
	{
		name: "state change, 2 members", route: "setRoomStateWithKey", budget: stateBudget(2),
		limit: limit{10, 26, 11},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, room, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			return timed(func(i int) error {
				return users[0].call("PUT", "/v3/rooms/"+room+"/state/m.room.topic/", object{"topic": fmt.Sprintf("topic %06d", i)}, nil)
			}), nil
		},
	},
	{
		name: "join as 2nd member", route: "joinRoomById", budget: stateBudget(2),
		limit: limit{9.5, 26, 14},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, rooms, err := s.roomsOf(1, n)
			if err != nil {
				return nil, err
			}
			u, err := users[0].register()
			return timed(func(i int) error { return u.join(rooms[i]) }), err
		},
	},
	{
		name: "leave of 2nd member", route: "leaveRoom", budget: stateBudget(2),
		limit: limit{7.5, 26, 13},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, rooms, err := s.roomsOf(2, n)
			return timed(func(i int) error { return users[1].leave(rooms[i]) }), err
		},
	},
	{
		name: "idle /sync, timeout=0", route: "sync", budget: &budget{2.5, 0}, aim: aim{p50: 400 * time.Microsecond},
		limit: limit{2.5, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, _, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			first, err := users[0].first()
			return timed(func(int) error {
				_, err := users[0].sync("timeout=0&since=" + first.Next)
				return err
			}), err
		},
	},
	{
		// A long poll that nothing wakes looks before it arms, after, and at its end:
		// three checks with one token.
		name: "idle /sync that waits", route: "sync", untimed: true, budget: &budget{1 + 3*1.5, 0},
		limit: limit{5.5, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, _, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			first, err := users[0].first()
			return timed(func(int) error {
				_, err := users[0].sync("timeout=20&since=" + first.Next)
				return err
			}), err
		},
	},
	{
		name: "incremental /sync, 1 changed room", route: "sync", budget: &budget{7, 0}, aim: aim{p50: time.Millisecond},
		limit: limit{7, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, room, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			first, err := users[0].first()
			if err != nil {
				return nil, err
			}
			if err := users[1].send(room); err != nil {
				return nil, err
			}
			if err := s.settle(); err != nil {
				return nil, err
			}
			return timed(func(int) error {
				s, err := users[0].sync("timeout=0&since=" + first.Next)
				if err == nil && len(s.Rooms.Join) != 1 {
					err = fmt.Errorf("%d rooms changed", len(s.Rooms.Join))
				}
				return err
			}), nil
		},
	},
	{
		name: "initial /sync, 10 rooms", route: "sync",
		limit: limit{218, 0, 0}, // 12 of them for presence
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, rooms, err := s.roomsOf(2, 10)
			if err != nil {
				return nil, err
			}
			for _, room := range rooms {
				for range 10 {
					if err := users[1].send(room); err != nil {
						return nil, err
					}
				}
			}
			return timed(func(int) error {
				s, err := users[0].sync("timeout=0")
				if err == nil && len(s.Rooms.Join) != 10 {
					err = fmt.Errorf("%d rooms", len(s.Rooms.Join))
				}
				return err
			}), nil
		},
	},
	{
		name: "/messages, 20 of 1 KB", route: "getRoomEvents", aim: aim{p50: 2 * time.Millisecond},
		limit: limit{14, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, room, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			for range 30 {
				if err := users[1].send(room); err != nil {
					return nil, err
				}
			}
			return timed(func(int) error {
				var page struct{ Chunk []struct{} }
				err := users[0].call("GET", "/v3/rooms/"+room+"/messages?dir=b&limit=20", nil, &page)
				if err == nil && len(page.Chunk) != 20 {
					err = fmt.Errorf("%d events", len(page.Chunk))
				}
				return err
			}), nil
		},
	},
	{
		// Whatever comes in 32 messages, their words are indexed once.
		name: "send 32 times 1 KB of words to 2 members", route: "sendMessage", untimed: true,
		limit: limit{128, 500, 305},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, room, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			return timed(func(i int) error {
				for j := range 32 {
					if err := users[0].say(room, prose(32*i+j)); err != nil {
						return err
					}
					if err := s.settle(); err != nil {
						return err
					}
				}
				return nil
			}), nil
		},
	},
	{
		name: "search, 10 of 500 messages", route: "search",
		limit: limit{40, 0, 0},
		lane: func(s *site, n int) (func(int) (time.Duration, error), error) {
			users, room, err := s.roomOf(2)
			if err != nil {
				return nil, err
			}
			for i := range 500 {
				text := fmt.Sprintf("message %d", i)
				if i%50 == 0 {
					text += " of rain"
				}
				if err := users[1].say(room, text); err != nil {
					return nil, err
				}
			}
			if err := s.settle(); err != nil {
				return nil, err
			}
			body := object{"search_categories": object{"room_events": object{"search_term": "rain message", "order_by": "recent"}}}
			return timed(func(int) error {
				var page struct {
					Categories struct {
						Events struct{ Results []struct{} } `json:"room_events"`
					} `json:"search_categories"`
				}
				err := users[0].call("POST", "/v3/search", body, &page)
				if n := len(page.Categories.Events.Results); err == nil && n != 10 {
					err = fmt.Errorf("%d results", n)
				}
				return err
			}), nil
		},
	},
	{name: "initial /sync, 50 rooms of 50 messages", route: "sync", unitless: true, rare: 10, aim: aim{p50: 15 * time.Millisecond}, lane: wholeOf(50, 50)},
	{name: "incremental /sync, 1 of 100 rooms changed", route: "sync", budget: &budget{7, 0}, limit: limit{7, 0, 0}, rare: 4,
		aim: aim{p50: time.Millisecond}, lane: oneOf(100)},
	{name: "incremental /sync, 1 of 1,000 rooms changed", route: "sync", unitless: true, crowd: 1,
		aim: aim{p50: time.Millisecond}, lane: oneOf(1000)},
	{name: "wake-up: acknowledged send to answered /sync", route: "sync", unitless: true, wakes: true, aim: aim{p50: 2 * time.Millisecond}, lane: wakeUps},
	{name: "room of 1,000: send to last of 60 answered /syncs", route: "sync", unitless: true, wakes: true, crowd: 1, rare: 4,
		aim: aim{p50: 20 * time.Millisecond, cpu: 20 * time.Millisecond}, lane: hall(1000, 60)},
}

// timed makes the time of an act that of its request.
func timed(f func(i int) error) func(int) (time.Duration, error) {
	return func(i int) (time.Duration, error) {
		begin := time.Now()
		err := f(i)
		return time.Since(begin), err
	}
}

// roomsOf makes users, and n rooms that all of them are in. They have looked, so
// that they are active.
func (s *site) roomsOf(members, n int) (users []*user, rooms []string, err error) {
	for range members {
		u, err := s.register()
		if err == nil {
			_, err = u.first()
		}
		if err != nil {
			return nil, nil, err
		}
		users = append(users, u)
	}
	for range n {
		room, err := users[0].room(users[1:]...)
		if err != nil {
			return nil, nil, err
		}
		rooms = append(rooms, room)
	}
	return users, rooms, nil
}

func (s *site) roomOf(members int) ([]*user, string, error) {
	users, rooms, err := s.roomsOf(members, 1)
	if err != nil {
		return nil, "", err
	}
	return users, rooms[0], nil
}

func sendTo(members int) func(*site, int) (func(int) (time.Duration, error), error) {
	return func(s *site, n int) (func(int) (time.Duration, error), error) {
		users, room, err := s.roomOf(members)
		if err != nil {
			return nil, err
		}
		return timed(func(int) error { return users[0].send(room) }), nil
	}
}

// armed is how long after its start a /sync surely waits.
const armed = 20 * time.Millisecond

// wakeUps measures from the acknowledgement of a send to the answer of another
// user's /sync, which waited. The answer may come first: that is no time at all.
func wakeUps(s *site, n int) (func(int) (time.Duration, error), error) {
	users, room, err := s.roomOf(2)
	if err != nil {
		return nil, err
	}
	sender, waiter := users[0], users[1]
	first, err := waiter.first()
	if err != nil {
		return nil, err
	}
	next := first.Next
	return func(int) (time.Duration, error) {
		type answer struct {
			synced
			at  time.Time
			err error
		}
		answers := make(chan answer, 1)
		go func() {
			a := answer{synced: synced{Next: next}}
			for a.err == nil && !slices.Contains(keys(a.Rooms.Join), room) {
				a.synced, a.err = waiter.sync("timeout=20000&since=" + a.Next)
			}
			a.at = time.Now()
			answers <- a
		}()
		time.Sleep(armed)
		if err := sender.send(room); err != nil {
			return 0, err
		}
		acknowledged := time.Now()
		a := <-answers
		next = a.Next
		return max(0, a.at.Sub(acknowledged)), a.err
	}, nil
}

// prose is a message of 1 KB of words.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < 1024; i++ {
		fmt.Fprintf(&b, "word%d ", (n*31+i*i)%5000)
	}
	return b.String()
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}
