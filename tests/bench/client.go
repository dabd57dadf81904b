package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// A site is a homeserver as its clients see it.
type site struct {
	url  string
	http http.Client
	// settle waits until the workers have done what the requests so far left to
	// them.
	settle func() error
	// named counts the names that were given out, so that each is new.
	named atomic.Int64
}

func (s *site) name(prefix string) string { return fmt.Sprintf("%s%04d", prefix, s.named.Add(1)) }

// A user is one device of a user of the site.
type user struct {
	*site
	ID    string `json:"user_id"`
	Token string `json:"access_token"`
	name  string
	sent  int
}

type object map[string]any

const password = "wonderland, but wetter"

// register makes a user.
func (s *site) register() (*user, error) {
	u := &user{site: s, name: s.name("user")}
	return u, u.call("POST", "/v3/register", object{"username": u.name, "password": password, "auth": object{"type": "m.login.dummy"}}, u)
}

// call makes a request of the client API as the user, and reads the answer.
func (u *user) call(method, path string, body, answer any) error {
	b, err := u.raw(method, path, body)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(b, answer)
}

// raw is call without reading the answer, which takes as long as making it where it
// is long.
func (u *user) raw(method, path string, body any) ([]byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, u.url+"/_matrix/client"+path, r)
	if err != nil {
		return nil, err
	}
	if u.Token != "" {
		req.Header.Set("Authorization", "Bearer "+u.Token)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	return b, err
}

// room makes a room that everybody may join, and has the others join it.
func (u *user) room(others ...*user) (string, error) {
	var made struct {
		RoomID string `json:"room_id"`
	}
	if err := u.call("POST", "/v3/createRoom", object{"preset": "public_chat", "name": "Benchmark"}, &made); err != nil {
		return "", err
	}
	for _, o := range others {
		if err := o.join(made.RoomID); err != nil {
			return "", err
		}
	}
	return made.RoomID, nil
}

func (u *user) join(room string) error {
	return u.call("POST", "/v3/rooms/"+room+"/join", object{}, nil)
}

func (u *user) leave(room string) error {
	return u.call("POST", "/v3/rooms/"+room+"/leave", object{}, nil)
}

// message is a message of 1 KB, as the event is stored about 1.5 KB.
var message = object{"msgtype": "m.text", "body": string(bytes.Repeat([]byte("0123456789abcdef"), 1024/16))}

func (u *user) send(room string) error { return u.put(room, message) }

func (u *user) say(room, text string) error {
	return u.put(room, object{"msgtype": "m.text", "body": text})
}

func (u *user) put(room string, content object) error {
	u.sent++
	return u.call("PUT", fmt.Sprintf("/v3/rooms/%s/send/m.room.message/%06d", room, u.sent), content, nil)
}

// synced is what a benchmark reads of an answer of /sync.
type synced struct {
	Next  string `json:"next_batch"`
	Rooms struct {
		Join map[string]json.RawMessage `json:"join"`
	} `json:"rooms"`
}

func (u *user) sync(query string) (s synced, err error) {
	return s, u.call("GET", "/v3/sync?"+query, nil, &s)
}

// first is an initial sync after which nothing is new.
func (u *user) first() (synced, error) {
	if err := u.settle(); err != nil {
		return synced{}, err
	}
	return u.sync("")
}
