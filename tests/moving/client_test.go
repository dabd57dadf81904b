package moving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// client is a device that remembers what it was told, as clients do.
type client struct {
	m     world
	user  string
	token string
	id    string // of the device
	since string
	// rooms are the events of each room's timeline, the oldest first. A limited
	// timeline begins anew.
	rooms map[string][]string
}

// world is a server with its workers.
type world interface {
	Base() string
	tb() testing.TB
	// settled waits until everybody was told everything.
	settled()
}

type object = map[string]any

// call makes a request and returns the answer of the status that is wanted.
func (c *client) call(method, path string, body any, want int) object {
	c.m.tb().Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.m.tb().Fatal(err)
	}
	req, err := http.NewRequest(method, c.m.Base()+"/_matrix/client/v3"+path, bytes.NewReader(text))
	if err != nil {
		c.m.tb().Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.m.tb().Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != want {
		c.m.tb().Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		c.m.tb().Fatalf("%s %s: %v", method, path, err)
	}
	return o
}

func (m *moved) register(name string) *client {
	m.t.Helper()
	return registered(m, name)
}

func registered(m world, name string) *client {
	m.tb().Helper()
	c := &client{m: m, rooms: map[string][]string{}}
	o := c.call("POST", "/register", object{"username": name, "password": "of " + name, "auth": object{"type": "m.login.dummy"}}, 200)
	c.user, c.token, c.id = o["user_id"].(string), o["access_token"].(string), o["device_id"].(string)
	return c
}

func (c *client) create(invite ...string) string {
	c.m.tb().Helper()
	return c.call("POST", "/createRoom", object{"preset": "public_chat", "invite": invite}, 200)["room_id"].(string)
}

func (c *client) join(room string) {
	c.m.tb().Helper()
	c.call("POST", "/join/"+url.PathEscape(room), object{}, 200)
}

func (c *client) send(room, txn string) (event string) {
	c.m.tb().Helper()
	path := fmt.Sprintf("/rooms/%s/send/m.room.message/%s", url.PathEscape(room), txn)
	return c.call("PUT", path, object{"msgtype": "m.text", "body": txn}, 200)["event_id"].(string)
}

// sync takes in what is new, and reports whether a room began anew.
func (c *client) sync() (limited bool) {
	c.m.tb().Helper()
	o := c.call("GET", "/sync?timeout=0&filter="+url.QueryEscape(`{"room":{"timeline":{"limit":100}}}`)+"&since="+c.since, nil, 200)
	c.since = o["next_batch"].(string)
	rooms, _ := o["rooms"].(object)
	joined, _ := rooms["join"].(object)
	for room, r := range joined {
		timeline := r.(object)["timeline"].(object)
		if timeline["limited"] == true {
			limited, c.rooms[room] = true, nil
		}
		for _, e := range timeline["events"].([]any) {
			c.rooms[room] = append(c.rooms[room], e.(object)["event_id"].(string))
		}
	}
	return limited
}

// settle waits until everybody was told everything, and takes it in.
func (c *client) settle() (limited bool) {
	c.m.tb().Helper()
	c.m.settled()
	return c.sync()
}

// history is what the server says that there is.
func (c *client) history(room string) (ids []string) {
	c.m.tb().Helper()
	o := c.call("GET", "/rooms/"+url.PathEscape(room)+"/messages?dir=b&limit=100", nil, 200)
	for _, e := range o["chunk"].([]any) {
		ids = append(ids, e.(object)["event_id"].(string))
	}
	slices.Reverse(ids)
	return ids
}

// knows makes sure that the client has the end of the room as it is: nothing lost,
// nothing twice.
func (c *client) knows(room string) {
	c.m.tb().Helper()
	all := c.history(room)
	got := c.rooms[room]
	if len(got) == 0 || len(got) > len(all) || !slices.Equal(got, all[len(all)-len(got):]) {
		c.m.tb().Errorf("%s knows %d events, up to %v, of %d, up to %v", c.user, len(got), got[max(0, len(got)-3):], len(all), all[max(0, len(all)-3):])
	}
}

func roots(t testing.TB, m *moved) (n int64, sum string) {
	t.Helper()
	s, err := m.p.Export(t.Context(), io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	return s.Rooms, s.Roots
}
