package checks

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// person is an account that is logged in.
type person struct {
	name, user, password string
	token, device        string
	since                string
	// made says that this run made the account, and so has to end it.
	made bool
}

// people are the two accounts of the run.
func (s *suite) people(ctx context.Context) (alice, bob *person, ok bool) {
	const check = "two accounts"
	both := make([]*person, 2)
	how := ""
	for i := range both {
		var err error
		if len(s.Accounts) == len(both) {
			how = "logged in"
			both[i] = &person{name: s.Accounts[i].Name, password: s.Accounts[i].Password}
			err = s.logIn(ctx, both[i])
		} else {
			both[i] = &person{name: fmt.Sprintf("smoke-%s-%d", s.run, i), password: rand.Text()}
			how, err = s.register(ctx, both[i])
		}
		if err != nil {
			s.judge(check, "", "make a registration token (go run ./infra/aws/admin registration-token) and set VIRGA_REGISTRATION_TOKEN, or write two accounts into a file for -accounts", err)
			if i > 0 {
				s.goodbye(ctx, both[:i]...)
			}
			return nil, nil, false
		}
	}
	s.tell(fine, check, fmt.Sprintf("%s and %s, %s", both[0].user, both[1].user, how), "")
	return both[0], both[1], true
}

func (p *person) is(o object) {
	p.user, p.token, p.device = str(o, "user_id"), str(o, "access_token"), str(o, "device_id")
}

func (s *suite) logIn(ctx context.Context, p *person) error {
	o, err := s.call(ctx, request{method: "POST", target: v3 + "/login", body: object{
		"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": p.name}, "password": p.password, "initial_device_display_name": "smoke",
	}})
	p.is(o)
	return err
}

// register makes an account in the way that the server allows.
func (s *suite) register(ctx context.Context, p *person) (how string, err error) {
	p.made = true
	if s.SharedSecret != "" {
		return "by the shared secret", s.registerBySecret(ctx, p)
	}
	body := object{"username": p.name, "password": p.password, "initial_device_display_name": "smoke"}
	r := request{method: "POST", target: v3 + "/register", body: body}
	a, err := s.send(ctx, r)
	if err != nil {
		return "", err
	}
	asked, err := a.json(http.StatusUnauthorized)
	if a.status == http.StatusForbidden {
		return "", errors.New("registration is closed")
	}
	if err != nil {
		return "", err
	}
	auth := object{"session": asked["session"], "type": "m.login.dummy"}
	if how = "registration is open"; strings.Contains(string(a.body), "m.login.registration_token") {
		if s.Token == "" {
			return "", errors.New("registration needs a registration token")
		}
		how, auth["type"], auth["token"] = "by a registration token", "m.login.registration_token", s.Token
	}
	body["auth"] = auth
	o, err := s.call(ctx, r)
	p.is(o)
	return how, err
}

func (s *suite) registerBySecret(ctx context.Context, p *person) error {
	const at = "/_synapse/admin/v1/register"
	o, err := s.call(ctx, request{method: "GET", target: at})
	if err != nil {
		return err
	}
	nonce := str(o, "nonce")
	m := hmac.New(sha1.New, []byte(s.SharedSecret))
	m.Write([]byte(strings.Join([]string{nonce, p.name, p.password, "notadmin"}, "\x00")))
	o, err = s.call(ctx, request{method: "POST", target: at, body: object{
		"nonce": nonce, "username": p.name, "password": p.password, "mac": hex.EncodeToString(m.Sum(nil)),
	}})
	p.is(o)
	return err
}

// goodbye ends what this run began.
func (s *suite) goodbye(ctx context.Context, all ...*person) {
	const check = "goodbye"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	what := "logged out"
	for _, p := range all {
		if !p.made {
			_, err := s.call(ctx, request{method: "POST", target: v3 + "/logout", token: p.token, body: object{}})
			errs = append(errs, err)
			continue
		}
		what = "both accounts are deactivated"
		r := request{method: "POST", target: v3 + "/account/deactivate", token: p.token, body: object{"erase": true, "auth": object{
			"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": p.user}, "password": p.password,
		}}}
		_, err := s.call(ctx, r)
		errs = append(errs, err)
	}
	s.judge(check, what, "the names of the accounts begin with smoke-"+s.run+": deactivate them by hand", errors.Join(errs...))
}

// spoofed is an address that nobody has.
const spoofed = "203.0.113.77"

// headers looks whether a client can pass for the front door. It is the first request of
// the session, which is when its address is noted.
func (s *suite) headers(ctx context.Context, p *person) {
	const do = "infra/aws/door.js is to delete the headers x-virga-* of clients"
	a, err := s.send(ctx, request{method: "GET", target: v3 + "/account/whoami", token: p.token, header: map[string]string{
		"X-Virga-Ip": spoofed, "X-Virga-Uri": "/_matrix/client/versions", "X-Virga-Secret": "guess",
	}})
	if err == nil {
		var o object
		if o, err = a.json(http.StatusOK); err == nil && o["user_id"] != p.user {
			err = fmt.Errorf("with headers of the door's, %s is answered as another request: %s", a.asked, short(string(a.body)))
		}
	}
	address := ""
	if err == nil {
		var o object
		o, err = s.call(ctx, request{method: "GET", target: v3 + "/devices/" + escaped(p.device), token: p.token})
		switch address = str(o, "last_seen_ip"); {
		case err == nil && address == spoofed:
			err = errors.New("a client chooses the address that it is seen with: rate limits are good for nothing")
		case err == nil && address == "":
			err = errors.New("no address of the device is known")
		}
	}
	s.judge("headers of the door", "are not believed from a client; yours is the address "+address, do, err)
}

// talk lets two people meet.
func (s *suite) talk(ctx context.Context, alice, bob *person) (room string, ok bool) {
	const do = "read the logs of the functions createRoom, joinRoom, sendMessage and sync, in the log groups /virga/<stack>/client/…"
	err := func() error {
		o, err := s.call(ctx, request{method: "POST", target: v3 + "/createRoom", token: alice.token, body: object{"preset": "public_chat", "name": "smoke " + s.run}})
		if err != nil {
			return err
		}
		room = str(o, "room_id")
		if _, err = s.call(ctx, request{method: "POST", target: v3 + "/join/" + escaped(room), token: bob.token, body: object{}}); err != nil {
			return err
		}
		sent, err := s.say(ctx, alice, room, "first")
		if err != nil {
			return err
		}
		if again, err := s.say(ctx, alice, room, "first"); err != nil || again != sent {
			return fmt.Errorf("the same message sent again is another one: %s and %s, %w", sent, again, err)
		}
		for range patience { // others are told a moment later
			events, err := s.sync(ctx, bob, 0)
			if err != nil {
				return err
			}
			for _, e := range events[room] {
				if e == sent {
					_, err := s.sync(ctx, alice, 0)
					return err
				}
			}
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return errors.New("the message never comes in /sync: are the workers of the streams at work?")
	}()
	return room, s.judge("a conversation", "room, join, message, /sync", do, err)
}

// say sends a message whose transaction is its text.
func (s *suite) say(ctx context.Context, p *person, room, text string) (event string, err error) {
	o, err := s.call(ctx, request{
		method: "PUT", target: v3 + "/rooms/" + escaped(room) + "/send/m.room.message/" + escaped(text+s.run), token: p.token,
		body: object{"msgtype": "m.text", "body": text},
	})
	return str(o, "event_id"), err
}

// syncRequest asks for what is new to a person.
func (p *person) syncRequest(timeout time.Duration) request {
	q := url.Values{"timeout": {fmt.Sprint(timeout.Milliseconds())}, "set_presence": {"offline"}}
	if p.since != "" {
		q.Set("since", p.since)
	}
	return request{method: "GET", target: v3 + "/sync?" + q.Encode(), token: p.token, follow: true}
}

// sync takes in what is new: the events of the rooms' timelines.
func (s *suite) sync(ctx context.Context, p *person, timeout time.Duration) (map[string][]string, error) {
	a, err := s.send(ctx, p.syncRequest(timeout))
	if err != nil {
		return nil, err
	}
	return p.took(a)
}

func (p *person) took(a answer) (map[string][]string, error) {
	o, err := a.json(http.StatusOK)
	if err != nil {
		return nil, err
	}
	p.since = str(o, "next_batch")
	events := map[string][]string{}
	rooms, _ := o["rooms"].(object)
	joined, _ := rooms["join"].(object)
	for room, r := range joined {
		of, _ := r.(object)
		timeline, _ := of["timeline"].(object)
		list, _ := timeline["events"].([]any)
		for _, e := range list {
			event, _ := e.(object)
			events[room] = append(events[room], str(event, "event_id"))
		}
	}
	return events, nil
}
