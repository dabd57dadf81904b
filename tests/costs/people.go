package costs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/tests/meter"
)

// maxHold is how long functions/main.go holds a request.
const maxHold = 25 * time.Second

// A world is a metered server with people.
type world struct {
	*meter.Server
	http  http.Client
	named int
}

// newWorld starts a server as it is on AWS: without presence, and holding as the
// service does that is given.
func newWorld(waits func(*meter.Clock) wake.Service, args ...string) (*world, error) {
	s, err := meter.New(meter.Options{Args: append([]string{"-presence", "off"}, args...), Waits: waits, MaxHold: maxHold, Queued: true})
	if err != nil {
		return nil, err
	}
	w := &world{Server: s, http: http.Client{Transport: s}}
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w, nil
}

func inLambda(c *meter.Clock) wake.Service { return aws.HoldInLambda(c) }

// elsewhere sends everybody away who may wait elsewhere.
type elsewhere struct{ wake.Service }

func inQueue(c *meter.Clock) wake.Service { return elsewhere{aws.HoldInLambda(c)} }

func (e elsewhere) Arm(ctx context.Context, w wake.Wait) (wake.Ticket, error) {
	t, err := e.Service.Arm(ctx, w)
	if w.Connection == "" || err != nil {
		return t, err
	}
	return away{t}, nil
}

type away struct{ wake.Ticket }

func (away) Hold(context.Context) (wake.Outcome, error) {
	return wake.Outcome{Elsewhere: "queue/wait"}, nil
}

type object = map[string]any

// A person is a user on one device.
type person struct {
	*world
	id, token, name string
	sent            int
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

// call makes a request of the client API.
func (p *person) call(method, path string, body any) (object, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "/hold/") {
		path = "/_matrix/client/v3" + path
	}
	req, err := http.NewRequest(method, "http://localhost:8008"+path, r)
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTemporaryRedirect {
		// The queue that is waited at says the same whatever happened.
		return p.call(method, strings.TrimSuffix(resp.Header.Get("Location"), "/wait")+"/done", body)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	got := object{}
	return got, json.Unmarshal(b, &got)
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
		if _, err := p.sync(""); err != nil {
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
