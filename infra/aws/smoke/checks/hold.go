package checks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A client that waits in /sync may be sent on to wait elsewhere, and has to come back
// with its token. These look at the whole way, whatever it is.

// waits is what is known before anybody speaks: long enough to have been sent on.
const waits = 2 * time.Second

const held = "see shared/route/hold.go for the way of a /sync that waits: each hop keeps the token, and the last one looks at the log of the user once more"

// pending is a request that has not been answered yet.
type pending struct {
	answer chan answer
	err    chan error
}

func (s *suite) begin(ctx context.Context, r request) pending {
	p := pending{make(chan answer, 1), make(chan error, 1)}
	go func() {
		a, err := s.send(ctx, r)
		if err != nil {
			p.err <- err
			return
		}
		p.answer <- a
	}()
	return p
}

// early returns an error if the answer comes before the time is over.
func (p pending) early(ctx context.Context, after time.Duration) error {
	select {
	case err := <-p.err:
		return err
	case a := <-p.answer:
		return fmt.Errorf("%s does not wait: it answers %d after %s", a.asked, a.status, brief(a.took))
	case <-time.After(after):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// over waits for the answer.
func (p pending) over(ctx context.Context, within time.Duration) (answer, error) {
	select {
	case err := <-p.err:
		return answer{}, err
	case a := <-p.answer:
		return a, nil
	case <-time.After(within):
		return answer{}, fmt.Errorf("there is no answer after %s", within)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// woken looks whether somebody who waits hears of a message, and how soon: the first
// time, and again, since a place to wait at may have to be made first.
func (s *suite) woken(ctx context.Context, alice, bob *person, room string) bool {
	took := [2]time.Duration{}
	hops := 0
	for i := range took {
		if err := s.quiet(ctx, alice, bob); err != nil {
			return s.judge("wake", "", held, err)
		}
		p := s.begin(ctx, alice.syncRequest(s.Idle))
		err := p.early(ctx, min(waits, s.Idle/2))
		if err != nil {
			return s.judge("wake", "", held, err)
		}
		sent := time.Now()
		event, err := s.say(ctx, bob, room, fmt.Sprint("wake", i))
		if err != nil {
			return s.judge("wake", "", held, err)
		}
		a, err := p.over(ctx, s.Idle+20*time.Second)
		took[i] = time.Since(sent)
		if err != nil {
			return s.judge("wake", "", held, err)
		}
		hops = len(a.hops)
		events, err := alice.took(a)
		switch {
		case err != nil && a.status == http.StatusUnauthorized && hops > 0:
			err = fmt.Errorf("on the way over %v, the token was lost: %w", a.hops, err)
		case err != nil:
		case !contains(events[room], event):
			err = fmt.Errorf("after %s /sync answers without the message", brief(took[i]))
		case took[i] > s.Wake:
			err = fmt.Errorf("a message is heard after %s, and not within %s", brief(took[i]), s.Wake)
		}
		if err != nil {
			return s.judge("wake", "", held, err)
		}
	}
	found := fmt.Sprintf("a message is heard after %s, and the next one after %s", brief(took[0]), brief(took[1]))
	if hops > 0 {
		found += fmt.Sprintf(", over %d hops", hops)
	}
	s.tell(fine, "wake", found, "")
	return true
}

func contains(list []string, want string) bool {
	for _, v := range list {
		if v == want {
			return true
		}
	}
	return false
}

// quiet takes in what is still to be told.
func (s *suite) quiet(ctx context.Context, all ...*person) error {
	for _, p := range all {
		for range patience {
			was := p.since
			if _, err := s.sync(ctx, p, 0); err != nil {
				return err
			}
			if p.since == was {
				break
			}
		}
	}
	return nil
}

// longest is how long a queue holds who waits; clients that want to wait longer are
// answered then, and ask again.
const longest = 20 * time.Second

// idle looks whether somebody who hears nothing waits to the end. A wait may end early
// for nothing, since a wake is a hint, but not again and again.
func (s *suite) idle(ctx context.Context, p *person) {
	const check = "idle wait"
	early := ""
	for tries := 0; tries < 3; {
		was := p.since
		a, err := s.send(ctx, p.syncRequest(s.Idle))
		if err == nil {
			_, err = p.took(a)
		}
		switch {
		case err != nil:
		case p.since != was:
			tries++
			early = ", and before that something new" + early
			continue
		case a.took < min(s.Idle, longest)*8/10:
			tries++
			early = fmt.Sprintf(", and before that after %s%s", brief(a.took), early)
			continue
		case a.took > s.Idle+15*time.Second:
			err = fmt.Errorf("a client that asks to wait %s waits %s", s.Idle, brief(a.took))
		}
		s.judge(check, fmt.Sprintf("an empty answer after %s%s", brief(a.took), early), held, err)
		return
	}
	s.tell(bad, check, fmt.Sprintf("a client that asks to wait %s is never answered so late%s", s.Idle, early), held)
}

// loggedOut looks whether a wait outlives its session.
func (s *suite) loggedOut(ctx context.Context, p *person) {
	const check = "logout"
	ended := ""
	err := func() error {
		second := &person{name: p.name, password: p.password}
		if err := s.logIn(ctx, second); err != nil {
			return err
		}
		if _, err := s.sync(ctx, second, 0); err != nil {
			return err
		}
		if err := s.quiet(ctx, second); err != nil {
			return err
		}
		wait := s.begin(ctx, second.syncRequest(s.Idle))
		if err := wait.early(ctx, min(waits, s.Idle/2)); err != nil {
			return err
		}
		if _, err := s.call(ctx, request{method: "POST", target: v3 + "/logout", token: second.token, body: object{}}); err != nil {
			return err
		}
		a, err := s.send(ctx, request{method: "GET", target: v3 + "/account/whoami", token: second.token})
		if err == nil {
			err = a.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
		}
		if err != nil {
			return fmt.Errorf("the token is good after the logout: %w", err)
		}
		if a, err = wait.over(ctx, s.Idle+20*time.Second); err != nil {
			return err
		}
		if ended = fmt.Sprintf("who waited is told so with 401 after %s", brief(a.took)); len(a.hops) > 0 {
			return a.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
		}
		// A request that waited in one place was good when it came. It may end empty.
		was := second.since
		if a.status == http.StatusOK {
			ended = fmt.Sprintf("who waited is answered with nothing after %s, and refused from then on", brief(a.took))
			if _, err := second.took(a); err != nil || second.since != was {
				return errors.Join(fmt.Errorf("who waits when the session ends is told more"), err)
			}
			return nil
		}
		return a.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
	}()
	s.judge(check, "ends the session; "+ended, held, err)
}
