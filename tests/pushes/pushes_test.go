// Package pushes has a push gateway, and holds what a server sends it.
package pushes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/infra/local/process"
	sender "github.com/virga-im/virga/shared/gateway"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/tests/server"
)

// gateway is a push gateway that keeps what it is sent.
type gateway struct {
	*httptest.Server
	got chan push

	mu     sync.Mutex
	status int // what it answers; 0 is 200
	reject []string
	wait   chan struct{} // it does not answer until this is closed
	failed chan struct{} // one for each answer that is not 200
}

type push struct {
	EventID    string          `json:"event_id"`
	RoomID     string          `json:"room_id"`
	Type       string          `json:"type"`
	Sender     string          `json:"sender"`
	SenderName string          `json:"sender_display_name"`
	RoomName   string          `json:"room_name"`
	IsTarget   bool            `json:"user_is_target"`
	Membership string          `json:"membership"`
	Prio       string          `json:"prio"`
	Content    json.RawMessage `json:"content"`
	Counts     map[string]int  `json:"counts"`
	Devices    []struct {
		AppID   string                     `json:"app_id"`
		PushKey string                     `json:"pushkey"`
		TS      int64                      `json:"pushkey_ts"`
		Data    map[string]json.RawMessage `json:"data"`
		Tweaks  map[string]any             `json:"tweaks"`
	} `json:"devices"`
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{got: make(chan push, 1000), failed: make(chan struct{}, 1000)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Notification push `json:"notification"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/_matrix/push/v1/notify" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		g.mu.Lock()
		status, reject, wait := g.status, g.reject, g.wait
		g.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			g.failed <- struct{}{}
			return
		}
		g.got <- body.Notification
		if wait != nil {
			<-wait
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"rejected": append([]string{}, reject...)})
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) answer(status int, reject ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.reject = status, reject
}

// hold has the gateway answer nobody until the channel is closed.
func (g *gateway) hold(until chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = until
}

// refused waits until the gateway has refused something.
func (g *gateway) refused(t *testing.T) {
	t.Helper()
	select {
	case <-g.failed:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was refused")
	}
}

// next is the next notification.
func (g *gateway) next(t *testing.T) push {
	t.Helper()
	select {
	case p := <-g.got:
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("no notification came")
		return push{}
	}
}

type client struct {
	t     *testing.T
	url   func() string // another one after a restart
	id    string
	token string
	txn   int
}

func (c *client) call(method, path string, body any) map[string]any {
	c.t.Helper()
	status, answer := c.do(method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	var m map[string]any
	if err := json.Unmarshal(answer, &m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *client) do(method, path string, body any) (status int, answer []byte) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest(method, c.url()+"/_matrix/client/v3"+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func register(t *testing.T, s interface{ Base() string }, name string) *client {
	t.Helper()
	c := &client{t: t, url: s.Base}
	m := c.call("POST", "/register", map[string]any{"username": name, "password": "wonderland1", "auth": map[string]any{"type": "m.login.dummy"}})
	c.id, c.token = m["user_id"].(string), m["access_token"].(string)
	return c
}

func (c *client) pusher(g *gateway, key string, data map[string]any) {
	c.t.Helper()
	c.call("POST", "/pushers/set", pusherOf(g, key, data))
}

func pusherOf(g *gateway, key string, data map[string]any) map[string]any {
	all := map[string]any{"url": g.URL + "/_matrix/push/v1/notify"}
	for k, v := range data {
		all[k] = v
	}
	return map[string]any{
		"kind": "http", "app_id": "org.example.app", "pushkey": key, "app_display_name": "App", "device_display_name": "Phone", "lang": "en", "data": all,
		"append": true,
	}
}

func (c *client) send(room, body string, mentions ...string) string {
	c.t.Helper()
	c.txn++
	content := map[string]any{"msgtype": "m.text", "body": body}
	if len(mentions) > 0 {
		content["m.mentions"] = map[string]any{"user_ids": mentions}
	}
	return c.call("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d", room, c.txn), content)["event_id"].(string)
}

func TestPhonesAreNotified(t *testing.T) {
	t.Parallel()
	s, g := server.Start(t), newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", map[string]any{"org.example.custom": 1})

	alice.call("PUT", "/profile/"+alice.id+"/displayname", map[string]any{"displayname": "Alice"})
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "private_chat", "name": "Tea", "invite": []string{bob.id}})["room_id"].(string)
	p := g.next(t)
	if p.Type != "m.room.member" || p.RoomID != room || p.Sender != alice.id || p.Prio != "high" || p.Devices[0].Tweaks["sound"] != "default" || !p.IsTarget || p.Membership != "invite" {
		t.Errorf("of the invite: %+v", p)
	}
	bob.call("POST", "/join/"+room, map[string]any{})

	id := alice.send(room, "Sugar?")
	p = g.next(t)
	if p.EventID != id || p.Type != "m.room.message" || p.SenderName != "Alice" || p.RoomName != "Tea" || p.Counts["unread"] != 1 ||
		string(p.Content) != `{"body":"Sugar?","msgtype":"m.text"}` {
		t.Errorf("of the message: %+v", p)
	}
	d := p.Devices[0]
	if d.AppID != "org.example.app" || d.PushKey != "key" || d.TS < 1e9 || d.TS > 1e10 || string(d.Data["org.example.custom"]) != "1" || d.Data["url"] != nil {
		t.Errorf("the device: %+v", d)
	}
	id = alice.send(room, "Bob!", bob.id)
	if p = g.next(t); p.EventID != id || p.Counts["unread"] != 2 || p.Prio != "high" || p.Devices[0].Tweaks["highlight"] != true {
		t.Errorf("of the mention: %+v", p)
	}
	// Reading it takes the number away: a zero that is sent, or apps keep the old one.
	bob.call("POST", "/rooms/"+room+"/receipt/m.read/"+id, map[string]any{})
	p = g.next(t)
	if n, told := p.Counts["unread"]; p.EventID != "" || !told || n != 0 || len(p.Devices) != 1 {
		t.Errorf("of the receipt: %+v", p)
	}
	// Nobody is told of what they say themselves, nor of what the rules are silent about.
	bob.send(room, "Two, please.")
	alice.call("PUT", "/rooms/"+room+"/state/m.room.topic/", map[string]any{"topic": "leaves"})
	id = alice.send(room, "Here.")
	if p = g.next(t); p.EventID != id {
		t.Errorf("the next one is %+v", p)
	}
}

func TestAnEventIDMayBeAllThatIsSent(t *testing.T) {
	t.Parallel()
	s, g := server.Start(t), newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", map[string]any{"format": "event_id_only"})
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat", "name": "Tea"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	id := alice.send(room, "a secret")
	p := g.next(t)
	if p.EventID != id || p.RoomID != room || p.Counts["unread"] != 1 || p.Type != "" || p.Sender != "" || p.SenderName != "" || p.RoomName != "" || p.Content != nil {
		t.Errorf("%+v", p)
	}
	if string(p.Devices[0].Data["format"]) != `"event_id_only"` {
		t.Errorf("the device: %+v", p.Devices[0])
	}
}

func TestAGatewayThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	s, g := server.Start(t), newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", nil)
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	g.answer(http.StatusBadGateway)
	ids := []string{alice.send(room, "one"), alice.send(room, "two")}
	s.Kill()
	s.Restart()
	ids = append(ids, alice.send(room, "three"))
	g.answer(0)
	var got []string
	for len(got) < len(ids) {
		if id := g.next(t).EventID; !slices.Contains(got, id) { // once at least
			got = append(got, id)
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("got %v, want %v", got, ids)
	}
}

func TestARejectedPushkeyIsDeleted(t *testing.T) {
	t.Parallel()
	s, g := server.Start(t), newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "old", nil)
	bob.pusher(g, "new", nil)
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	g.answer(0, "old")
	alice.send(room, "one")
	g.next(t)
	g.next(t)
	for deadline := time.Now().Add(30 * time.Second); ; {
		list := bob.call("GET", "/pushers", nil)["pushers"].([]any)
		if len(list) == 1 {
			if key := list[0].(map[string]any)["pushkey"]; key != "new" {
				t.Errorf("%v is left", key)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there are %d pushers", len(list))
		}
	}
	id := alice.send(room, "two")
	if p := g.next(t); p.EventID != id || p.Devices[0].PushKey != "new" {
		t.Errorf("%+v", p)
	}
}

func TestLargeRoomsNotifyToo(t *testing.T) {
	t.Parallel()
	// A room of two is a large one here.
	s := server.InProcess(t, func(o *process.Options) { o.Adjust = func(s *home.Server) { s.Rooms.PullAbove = 1 } })
	g := newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", nil)
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	for i := range 3 {
		id := alice.send(room, fmt.Sprint(i))
		if p := g.next(t); p.EventID != id || p.Counts["unread"] != i+1 {
			t.Errorf("of message %d: %+v", i, p)
		}
	}
}

// hints counts the tasks that look at pushers again.
type hints struct {
	queue.Sender
	sent atomic.Int64
}

func (h *hints) Send(ctx context.Context, q *queue.Queue, m queue.Message) error {
	h.sent.Add(1)
	return h.Sender.Send(ctx, q, m)
}

func TestASlowGatewayGathersNoTasks(t *testing.T) {
	t.Parallel()
	h := new(hints)
	var phones *sender.Service
	s := server.InProcess(t, func(o *process.Options) {
		o.Adjust = func(s *home.Server) {
			phones, h.Sender = s.Gateway, s.Gateway.Queues
			phones.Queues = h
		}
	})
	g, held := newGateway(t), make(chan struct{})
	answer := sync.OnceFunc(func() { close(held) })
	t.Cleanup(answer)
	g.hold(held)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", nil)
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	ids := []string{alice.send(room, "0")}
	if p := g.next(t); p.EventID != ids[0] {
		t.Errorf("the first is %+v", p)
	}
	ctx := grant.With(t.Context(), "test", sender.Delivers, nil)
	for i := range 10 {
		ids = append(ids, alice.send(room, fmt.Sprint(i+1)))
		if err := phones.Deliver(ctx, []string{bob.id}, false); err != nil {
			t.Fatal(err)
		}
	}
	// One task does for all, or some more if several look at a time.
	if n := h.sent.Load(); n == 0 || n > 4 {
		t.Errorf("%d tasks wait for the gateway", n)
	}
	answer()
	for _, id := range ids[1:] {
		if p := g.next(t); p.EventID != id {
			t.Errorf("got %+v, want %s", p, id)
		}
	}
}

// What could not be told of a count is told when the gateway is back.
func TestACountThatAGatewayMissedComesLater(t *testing.T) {
	t.Parallel()
	s, g := server.Start(t), newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	bob.pusher(g, "key", nil)
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	alice.send(room, "one")
	if p := g.next(t); p.Counts["unread"] != 1 {
		t.Errorf("%+v", p)
	}
	g.answer(http.StatusBadGateway)
	id := alice.send(room, "two")
	g.refused(t)
	bob.call("POST", "/rooms/"+room+"/receipt/m.read/"+id, map[string]any{})
	g.answer(0)
	p := g.next(t)
	if n, told := p.Counts["unread"]; p.EventID != "" || !told || n != 0 {
		t.Errorf("%+v", p)
	}
}

// The request that sets a first pusher dies after the pusher is there, and is
// repeated: then the processes have to learn of it all the same.
func TestAFirstPusherThatWasInterruptedIsHeardOf(t *testing.T) {
	t.Parallel()
	var fails atomic.Int64 // that many writes of a wake
	s := server.InProcess(t, func(o *process.Options) {
		o.Adjust = func(s *home.Server) { s.Rooms.PullAbove = 1 }
		o.Store.Fault = func(c local.Call) local.Fault {
			for _, r := range c.Refs {
				if c.Writes && r.Key.Part == "WAKES" && fails.Load() > 0 && fails.Add(-1) >= 0 {
					return local.Throttle
				}
			}
			return local.NoFault
		}
	})
	g := newGateway(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	room := alice.call("POST", "/createRoom", map[string]any{"preset": "public_chat"})["room_id"].(string)
	bob.call("POST", "/join/"+room, map[string]any{})
	bob.call("GET", "/sync", nil)
	alice.call("GET", "/sync", nil)
	settle := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := s.Process.Store.Settled(ctx); err != nil {
			t.Fatal(err)
		}
	}
	alice.send(room, "nobody has a phone")
	settle()
	alice.send(room, "which is remembered")
	settle()
	bob.call("GET", "/sync", nil) // an app looks when it starts
	fails.Store(1000)
	if status, answer := bob.do("POST", "/pushers/set", pusherOf(g, "key", nil)); status == http.StatusOK {
		t.Fatalf("the request did not fail: %s", answer)
	}
	fails.Store(0)
	bob.pusher(g, "key", nil)
	id := alice.send(room, "now somebody has")
	if p := g.next(t); p.EventID != id {
		t.Errorf("%+v", p)
	}
}
