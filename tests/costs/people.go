package costs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/tests/meter"
)

// maxHold is how long functions/main.go holds a request. In a function it ends
// while there is time to answer: see aws.HoldInLambda.
const maxHold = 30 * time.Second

// heldHere is that in a function.
const heldHere = 25 * time.Second

// A world is a metered server with people.
type world struct {
	*meter.Server
	http  http.Client
	named int
}

// newWorld starts a server as it is on AWS: without presence.
func newWorld(waits meter.Waits, args ...string) (*world, error) {
	hold := maxHold
	if waits == meter.InFunctions {
		hold = heldHere
	}
	s, err := meter.New(meter.Options{
		Args: append([]string{"-presence", "off"}, args...), Waits: waits, MaxHold: hold, Queued: true,
		Step: 10 * time.Millisecond, // so that a thousand people wait at the same time
	})
	if err != nil {
		return nil, err
	}
	w := &world{Server: s, http: http.Client{Transport: s}}
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w, nil
}

type object = map[string]any

// A person is a user on one device.
type person struct {
	*world
	id, token, name string
	sent            int
	// next is where the next /sync begins, and away where its client was sent to
	// wait.
	next, away string
}

const password = "wonderland, but wetter"

func (w *world) register() (*person, error) {
	w.named++
	p := &person{world: w, name: fmt.Sprintf("user%04d", w.named)}
	got, err := p.call("POST", "/register", object{"username": p.name, "password": password, "auth": object{"type": "m.login.dummy"}})
	if err != nil {
		return nil, err
	}
	p.id, p.token = got["user_id"].(string), got["access_token"].(string)
	return p, nil
}

// call makes a request of the client API, and waits where it is sent to.
func (p *person) call(method, path string, body any) (object, error) {
	at := "http://localhost:8008/_matrix/client/v3" + path
	for {
		got, next, err := p.request(method, at, body)
		if next == "" || err != nil {
			return got, err
		}
		at = next
	}
}

// request makes a request, and returns where its client is sent.
func (p *person) request(method, at string, body any) (got object, next string, err error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, "", err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, at, r)
	if err != nil {
		return nil, "", err
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTemporaryRedirect {
		to, err := resp.Location()
		if err != nil {
			return nil, "", err
		}
		return nil, to.String(), nil
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s %s: %d %s", method, at, resp.StatusCode, b)
	}
	return got, "", json.Unmarshal(b, &got)
}

// makeQueues waits in the function, which happens once to each client: the queues
// where it waits from then on are new.
func (p *person) makeQueues() (err error) {
	for _, timeout := range []string{"0", "18000"} { // what is there already, and nothing more
		if p.next, err = p.sync("timeout=" + timeout + "&since=" + p.next); err != nil {
			return err
		}
	}
	return nil
}

// wait asks for what is new until there is nothing, and the client is sent to wait.
func (p *person) wait() error {
	for {
		at := "http://localhost:8008/_matrix/client/v3/sync?timeout=30000&since=" + p.next
		got, away, err := p.request("GET", at, nil)
		if err != nil {
			return err
		}
		if p.away = away; away != "" {
			return nil
		}
		p.next, _ = got["next_batch"].(string)
	}
}

// comeBack goes on with what wait began.
func (p *person) comeBack() error {
	for at := p.away; at != ""; {
		got, next, err := p.request("GET", at, nil)
		if err != nil {
			return err
		}
		if at = next; next == "" {
			p.next, _ = got["next_batch"].(string)
		}
	}
	return nil
}

// do is call for who does not care about the answer.
func (p *person) do(method, path string, body any) error {
	_, err := p.call(method, path, body)
	return err
}

// sync returns where the next one begins.
func (p *person) sync(query string) (string, error) {
	got, err := p.call("GET", "/sync?"+query, nil)
	next, _ := got["next_batch"].(string)
	return next, err
}

// people registers so many, who have looked, so that they are active.
func (w *world) people(n int) ([]*person, error) {
	var all []*person
	for range n {
		p, err := w.register()
		if err != nil {
			return nil, err
		}
		if p.next, err = p.sync(""); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, w.Deliver()
}

// room makes a room that the others join.
func (p *person) room(others ...*person) (string, error) {
	got, err := p.call("POST", "/createRoom", object{"preset": "public_chat", "name": "Office"})
	if err != nil {
		return "", err
	}
	id := got["room_id"].(string)
	for _, o := range others {
		if err := o.do("POST", "/rooms/"+id+"/join", object{}); err != nil {
			return "", err
		}
	}
	return id, p.Deliver()
}

// say sends a message and returns its id.
func (p *person) say(room, text string) (string, error) {
	p.sent++
	got, err := p.call("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%06d", room, p.sent), object{"msgtype": "m.text", "body": text})
	id, _ := got["event_id"].(string)
	return id, err
}

// prose is a message of 1 KB of words.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < 1024; i++ {
		fmt.Fprintf(&b, "word%d ", (n*31+i*i)%5000)
	}
	return b.String()
}

// metered does something n times, and returns all that ran for it.
func (w *world) metered(n int, f func(i int) error) ([]meter.Run, error) {
	w.Reset()
	for i := range n {
		if err := errors.Join(f(i), w.Deliver()); err != nil {
			return nil, err
		}
	}
	return w.Runs(), nil
}
