package costs

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/virga-im/virga/tests/meter"
)

// others are the acts that are not about the size of a room, by name.
type others map[string]usage

const (
	actRegister    = "register"
	actLogin       = "login"
	actCreate      = "createRoom"
	actJoin        = "join of a room of 10"
	actLook        = "/sync, nothing new, no wait"
	actWait        = "/sync held by a function for 25 s (sync=lambda)"
	actHold        = "/sync held at a queue for 20 s"
	actInitial     = "initial /sync, 10 rooms"
	actMessages    = "/messages, 20 of 1 KB"
	actSearch      = "search, 10 of 500 messages"
	actPush        = "message of 1 KB to 2, and a push"
	actName        = "new display name, in 50 rooms"
	actPresence    = "presence renewed, seen by 10 (off by default)"
	initialRooms   = 10
	profileRooms   = 50
	searchMessages = 500
)

var otherNames = []string{actRegister, actLogin, actCreate, actJoin, actLook, actWait, actHold, actInitial, actMessages, actSearch, actPush, actName, actPresence}

func meterOthers() (others, error) {
	all := others{}
	for _, s := range []struct {
		name   string
		times  int
		held   float64
		pushes bool
		run    func(n int) ([]meter.Run, error)
	}{
		{actRegister, 4, 0, false, alone(func(w *world, p *person, i int) error { _, err := w.register(); return err })},
		{actLogin, 4, 0, false, alone(func(w *world, p *person, i int) error {
			return (&person{world: w}).do("POST", "/login", object{
				"type": "m.login.password", "password": password, "identifier": object{"type": "m.id.user", "user": p.name},
			})
		})},
		{actCreate, 4, 0, false, alone(func(w *world, p *person, i int) error { _, err := p.room(); return err })},
		{actJoin, 4, 0, false, joins},
		{actLook, 4, 0, false, looks},
		{actWait, 4, heldHere.Seconds(), false, functionHolds},
		{actHold, 4, 0, false, queueHolds},
		{actInitial, 2, 0, false, initials},
		{actMessages, 4, 0, false, pages},
		{actSearch, 4, 0, false, searches},
		{actPush, 8, 0, true, pushes},
		{actName, 2, 0, false, renames},
		{actPresence, 4, 0, false, presences},
	} {
		rs, err := s.run(s.times)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		u := use(s.name, 0, s.times, rs, s.held, s.pushes)
		all[s.name] = u
	}
	return all, nil
}

// in runs something in a new world, if it could be made.
func in(w *world, made error, run func() ([]meter.Run, error)) (rs []meter.Run, err error) {
	if made != nil {
		return nil, made
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return run()
}

// office makes a world with people in rooms that all of them are in.
func (w *world) office(members, rooms int) (all []*person, ids []string, err error) {
	if all, err = w.people(members); err != nil {
		return nil, nil, err
	}
	for range rooms {
		id, err := all[0].room(all[1:]...)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
	}
	return all, ids, nil
}

func alone(f func(w *world, p *person, i int) error) func(n int) ([]meter.Run, error) {
	return func(n int) ([]meter.Run, error) {
		w, err := newWorld(meter.InQueues)
		return in(w, err, func() ([]meter.Run, error) {
			all, err := w.people(1)
			if err != nil {
				return nil, err
			}
			return w.metered(n, func(i int) error { return f(w, all[0], i) })
		})
	}
}

func joins(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		_, ids, err := w.office(9, n)
		if err != nil {
			return nil, err
		}
		more, err := w.people(1)
		if err != nil {
			return nil, err
		}
		return w.metered(n, func(i int) error { return more[0].do("POST", "/rooms/"+ids[i]+"/join", object{}) })
	})
}

// idle makes a world where somebody is in ten rooms, and nothing happens.
func idle(waits meter.Waits, run func(w *world, p *person) ([]meter.Run, error)) ([]meter.Run, error) {
	w, err := newWorld(waits)
	return in(w, err, func() ([]meter.Run, error) {
		all, _, err := w.office(2, initialRooms)
		if err != nil {
			return nil, err
		}
		p := all[1]
		if p.next, err = p.sync(""); err != nil {
			return nil, err
		}
		return run(w, p)
	})
}

func looks(n int) ([]meter.Run, error) {
	return idle(meter.InQueues, func(w *world, p *person) ([]meter.Run, error) {
		return w.metered(n, func(int) error { return p.do("GET", "/sync?timeout=0&since="+p.next, nil) })
	})
}

func functionHolds(n int) ([]meter.Run, error) {
	return idle(meter.InFunctions, func(w *world, p *person) ([]meter.Run, error) {
		return w.metered(n, func(int) error { return p.do("GET", "/sync?timeout=30000&since="+p.next, nil) })
	})
}

func queueHolds(n int) ([]meter.Run, error) {
	return idle(meter.InQueues, func(w *world, p *person) ([]meter.Run, error) {
		turn := func(int) error { return errors.Join(p.wait(), p.comeBack()) }
		// The queues are made, and once an hour it is noted that the client comes back.
		if err := errors.Join(p.makeQueues(), turn(0)); err != nil {
			return nil, err
		}
		return w.metered(n, turn)
	})
}

func initials(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		all, ids, err := w.office(2, initialRooms)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			for i := range 10 {
				if _, err := all[0].say(id, prose(i)); err != nil {
					return nil, err
				}
			}
		}
		if err := w.Deliver(); err != nil {
			return nil, err
		}
		return w.metered(n, func(int) error { return all[1].do("GET", "/sync?timeout=0", nil) })
	})
}

func pages(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		all, ids, err := w.office(2, 1)
		if err != nil {
			return nil, err
		}
		for i := range 30 {
			if _, err := all[0].say(ids[0], prose(i)); err != nil {
				return nil, err
			}
		}
		if err := w.Deliver(); err != nil {
			return nil, err
		}
		return w.metered(n, func(int) error { return all[1].do("GET", "/rooms/"+ids[0]+"/messages?dir=b&limit=20", nil) })
	})
}

func searches(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		all, ids, err := w.office(2, 1)
		if err != nil {
			return nil, err
		}
		for i := range searchMessages {
			text := fmt.Sprintf("message %d", i)
			if i%50 == 0 {
				text += " of rain"
			}
			if _, err := all[0].say(ids[0], text); err != nil {
				return nil, err
			}
		}
		if err := w.Deliver(); err != nil {
			return nil, err
		}
		body := object{"search_categories": object{"room_events": object{"search_term": "rain message", "order_by": "recent"}}}
		return w.metered(n, func(int) error { return all[1].do("POST", "/search", body) })
	})
}

func pushes(n int) ([]meter.Run, error) {
	phones := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"rejected":[]}`))
	}))
	defer phones.Close()
	w, err := newWorld(meter.InQueues, "-allow-private-addresses")
	return in(w, err, func() ([]meter.Run, error) {
		all, ids, err := w.office(2, 1)
		if err != nil {
			return nil, err
		}
		if err := all[1].do("POST", "/pushers/set", object{
			"kind": "http", "app_id": "com.example.app", "pushkey": "key", "app_display_name": "Example", "device_display_name": "Phone",
			"lang": "en", "data": object{"url": phones.URL + "/_matrix/push/v1/notify", "format": "event_id_only"},
		}); err != nil {
			return nil, err
		}
		for i := range 2 {
			if _, err := all[0].say(ids[0], prose(i)); err != nil {
				return nil, err
			}
			if err := w.Deliver(); err != nil {
				return nil, err
			}
		}
		return w.metered(n, func(i int) error { _, err := all[0].say(ids[0], prose(i+2)); return err })
	})
}

func renames(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		all, _, err := w.office(2, profileRooms)
		if err != nil {
			return nil, err
		}
		return w.metered(n, func(i int) error {
			return all[1].do("PUT", "/profile/"+all[1].id+"/displayname", object{"displayname": fmt.Sprintf("Name %d", i)})
		})
	})
}

func presences(n int) ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues, "-presence", "on")
	return in(w, err, func() ([]meter.Run, error) {
		all, _, err := w.office(10, 1)
		if err != nil {
			return nil, err
		}
		return w.metered(n, func(i int) error {
			return all[1].do("PUT", "/presence/"+all[1].id+"/status", object{"presence": []string{"online", "unavailable"}[i%2]})
		})
	})
}

// timers returns a run of each worker that has a timer, where nothing happens.
func timers() ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		if _, _, err := w.office(2, initialRooms); err != nil {
			return nil, err
		}
		w.Pass(time.Hour)
		if err := w.Tick(); err != nil {
			return nil, err
		}
		return w.metered(1, func(int) error { return w.Tick() })
	})
}
