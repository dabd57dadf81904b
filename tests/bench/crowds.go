package main

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"
)

// one is the lane of a single /sync of a user in so many rooms, one of which has a
// new message.
func oneOf(rooms int) func(*site, int) (func(int) (time.Duration, error), error) {
	return func(s *site, n int) (func(int) (time.Duration, error), error) {
		users, in, err := s.roomsOf(2, rooms)
		if err != nil {
			return nil, err
		}
		// So many rooms take the workers a while: until nothing more comes.
		last, err := users[0].first()
		for err == nil {
			since := last.Next
			if last, err = users[0].sync("timeout=1000&since=" + since); err == nil && len(last.Rooms.Join) == 0 {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		if err := users[1].send(in[len(in)/2]); err != nil {
			return nil, err
		}
		if err := s.settle(); err != nil {
			return nil, err
		}
		return timed(func(int) error {
			s, err := users[0].sync("timeout=0&since=" + last.Next)
			if err == nil && len(s.Rooms.Join) != 1 {
				err = fmt.Errorf("%d rooms changed", len(s.Rooms.Join))
			}
			return err
		}), nil
	}
}

// wholeOf is the lane of an initial /sync of so many rooms with so many messages
// each.
func wholeOf(rooms, messages int) func(*site, int) (func(int) (time.Duration, error), error) {
	filter := fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, messages)
	return func(s *site, n int) (func(int) (time.Duration, error), error) {
		users, in, err := s.roomsOf(2, rooms)
		if err != nil {
			return nil, err
		}
		for _, room := range in {
			for range messages {
				if err := users[1].send(room); err != nil {
					return nil, err
				}
			}
		}
		if _, err := users[0].first(); err != nil { // the reader is active
			return nil, err
		}
		return timed(func(int) error {
			b, err := users[0].raw("GET", "/v3/sync?timeout=0&filter="+filter, nil)
			if n := bytes.Count(b, []byte(`"msgtype"`)); err == nil && n != rooms*messages {
				err = fmt.Errorf("%d messages", n)
			}
			return err
		}), nil
	}
}

// hall is the lane of a message in a room of so many members, some of whom wait for
// it. The time is that from sending it until the last of them has it.
func hall(members, waiting int) func(*site, int) (func(int) (time.Duration, error), error) {
	return func(s *site, n int) (func(int) (time.Duration, error), error) {
		users := make([]*user, members)
		var err error
		for i := range users {
			if users[i], err = s.register(); err != nil {
				return nil, err
			}
		}
		room, err := users[0].room(users[1:]...)
		if err != nil {
			return nil, err
		}
		sender, listeners := users[0], users[1:1+waiting]
		next := make([]string, waiting)
		err = together(waiting, func(i int) error {
			first, err := listeners[i].sync("")
			next[i] = first.Next
			return err
		})
		if err != nil {
			return nil, err
		}
		return func(int) (time.Duration, error) {
			at := make([]time.Time, waiting)
			errs := make([]error, waiting)
			var wg sync.WaitGroup
			for i, u := range listeners {
				wg.Go(func() {
					for errs[i] == nil {
						var got synced
						got, errs[i] = u.sync("timeout=20000&since=" + next[i])
						at[i] = time.Now()
						if next[i] = got.Next; slices.Contains(keys(got.Rooms.Join), room) {
							return
						}
					}
				})
			}
			time.Sleep(10 * armed)
			sent := time.Now()
			err := sender.send(room)
			wg.Wait()
			last := slices.MaxFunc(at, time.Time.Compare)
			for _, e := range errs {
				if err == nil {
					err = e
				}
			}
			return last.Sub(sent), err
		}, nil
	}
}
