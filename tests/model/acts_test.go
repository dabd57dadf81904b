package model

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// an act is something that people do. It reports whether the server did it: people
// try much that they may not do.
type act struct {
	name   string
	weight int
	do     func(d *device) (bool, error)
}

var acts = []act{
	{"message", 16, func(d *device) (bool, error) { return d.say(d.anyRoom(), nil) }},
	{"mention", 6, (*device).mention},
	{"edit", 3, (*device).edit},
	{"react", 4, (*device).react},
	{"reply in a thread", 8, (*device).thread},
	{"redact", 5, (*device).redact},
	{"topic", 3, func(d *device) (bool, error) {
		return d.setState("m.room.topic", map[string]any{"topic": d.mark()})
	}},
	{"name", 2, func(d *device) (bool, error) { return d.setState("m.room.name", map[string]any{"name": d.mark()}) }},
	{"levels", 1, (*device).levels},
	{"visibility", 1, func(d *device) (bool, error) {
		return d.setState("m.room.history_visibility", map[string]any{"history_visibility": pick(d, "shared", "shared", "joined", "invited", "world_readable")})
	}},
	{"join", 9, func(d *device) (bool, error) { return d.post(in(d.anyOf(d.w.known.all()), "join"), map[string]any{}) }},
	{"leave", 4, func(d *device) (bool, error) { return d.post(in(d.anyRoom(), "leave"), map[string]any{}) }},
	{"forget", 1, (*device).forgetRoom},
	{"invite", 5, func(d *device) (bool, error) { return d.membership("invite") }},
	{"kick", 2, func(d *device) (bool, error) { return d.membership("kick") }},
	{"ban", 2, func(d *device) (bool, error) { return d.membership("ban") }},
	{"unban", 4, func(d *device) (bool, error) { return d.membership("unban") }},
	{"knock", 3, func(d *device) (bool, error) {
		return d.post(v3+"knock/"+url.PathEscape(d.anyOf(d.w.known.all())), map[string]any{})
	}},
	{"receipt", 10, (*device).receipt},
	{"markers", 2, (*device).markers},
	{"typing", 4, func(d *device) (bool, error) {
		room := d.anyRoom()
		return d.put(in(room, "typing/"+url.PathEscape(d.user)), map[string]any{"typing": d.r.IntN(3) > 0, "timeout": 1000 + d.r.IntN(4000)})
	}},
	{"name of a person", 2, func(d *device) (bool, error) {
		return d.put(v3+"profile/"+url.PathEscape(d.user)+"/displayname", map[string]any{"displayname": d.mark()})
	}},
	{"account data", 2, func(d *device) (bool, error) {
		return d.put(v3+"user/"+url.PathEscape(d.user)+"/account_data/"+pick(d, "x.a", "x.b"), map[string]any{"m": d.mark()})
	}},
	{"room account data", 2, func(d *device) (bool, error) {
		return d.put(v3+"user/"+url.PathEscape(d.user)+"/rooms/"+url.PathEscape(d.anyRoom())+"/account_data/"+pick(d, "x.a", "x.b"), map[string]any{"m": d.mark()})
	}},
	{"tag", 2, func(d *device) (bool, error) {
		path := v3 + "user/" + url.PathEscape(d.user) + "/rooms/" + url.PathEscape(d.anyRoom()) + "/tags/" + pick(d, "u.a", "u.b")
		if d.r.IntN(3) == 0 {
			a, err := d.do("DELETE", path, nil)
			return a.ok(), err
		}
		return d.put(path, map[string]any{"order": d.r.Float64()})
	}},
	{"create", 1, (*device).create},
	{"start anew", 1, func(d *device) (bool, error) { d.forget(); return true, nil }},
	{"full state", 1, func(d *device) (bool, error) { _, err := d.sync(0, true); return true, err }},
	{"lose an answer", 6, func(d *device) (bool, error) { _, err := d.ask(0, false); return true, err }},
	{"wait", 6, func(d *device) (bool, error) { return d.sync(2*time.Second, false) }},
}

// moves are the acts by which people come and go.
var moves = []string{"join", "leave", "invite", "kick", "ban", "unban"}

func pick[T any](d *device, list ...T) T { return list[d.r.IntN(len(list))] }

// live does acts and looks what is new in between.
func (d *device) live(n int) error {
	weight := func(a act) int {
		if d.w.plan.churn && slices.Contains(moves, a.name) {
			return 4 * a.weight
		}
		return a.weight
	}
	total := 0
	for _, a := range acts {
		total += weight(a)
	}
	for range n {
		i := d.r.IntN(total)
		for _, a := range acts {
			if i -= weight(a); i >= 0 {
				continue
			}
			done, err := a.do(d)
			if err != nil {
				return err
			}
			if done {
				d.w.known.count(a.name)
			}
			break
		}
		if d.r.IntN(3) > 0 {
			if _, err := d.sync(0, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// mark is a text that is nowhere else.
func (d *device) mark() string {
	d.txns++
	return fmt.Sprintf("%s-%d", d.name, d.txns)
}

func (d *device) anyOf(rooms []string) string { return rooms[d.r.IntN(len(rooms))] }

// anyRoom is mostly a room that the device is in.
func (d *device) anyRoom() string {
	var mine []string
	for _, id := range d.w.known.all() {
		if m := d.rooms[id]; m != nil && m.membership == "join" {
			mine = append(mine, id)
		}
	}
	if len(mine) == 0 || d.r.IntN(20) == 0 {
		return d.anyOf(d.w.known.all())
	}
	return d.anyOf(mine)
}

// anyEvent is an event of a timeline that the device knows, mostly a new one, of a
// type if that is not empty.
func (d *device) anyEvent(typ string) (room string, e event) {
	room = d.anyRoom()
	m := d.rooms[room]
	if m == nil || len(m.pieces) == 0 {
		return room, e
	}
	all := m.pieces[len(m.pieces)-1].events
	for range 8 {
		if len(all) == 0 {
			break
		}
		some := all
		if d.r.IntN(2) == 0 {
			some = all[max(0, len(all)-5):]
		}
		if e = some[d.r.IntN(len(some))]; typ == "" || e.Type == typ && e.Unsigned.RedactedBecause == nil {
			return room, e
		}
	}
	return room, event{}
}

func (d *device) put(path string, body any) (bool, error) {
	a, err := d.do("PUT", path, body)
	return a.ok(), err
}

func (d *device) post(path string, body any) (bool, error) {
	a, err := d.do("POST", path, body)
	return a.ok(), err
}

func (d *device) say(room string, more map[string]any) (bool, error) {
	mark := d.mark()
	content := map[string]any{"msgtype": "m.text", "body": mark, "mark": mark}
	for k, v := range more {
		content[k] = v
	}
	return d.send(room, "m.room.message", mark, content)
}

// send sends an event. Sometimes the answer is lost, and it sends it again.
func (d *device) send(room, typ, mark string, content map[string]any) (bool, error) {
	path := in(room, "send/"+typ+"/"+mark)
	if typ == "m.room.redaction" {
		path = in(room, "redact/"+url.PathEscape(content["redacts"].(string))+"/"+mark)
		delete(content, "redacts")
	}
	a, err := d.do("PUT", path, content)
	if err != nil {
		return false, err
	}
	var sent struct {
		ID string `json:"event_id"`
	}
	_ = a.into(&sent)
	d.w.known.say(mark, sent.ID)
	if !a.ok() {
		return false, nil
	}
	d.sent[sent.ID] = mark
	if d.r.IntN(10) == 0 {
		again, err := d.do("PUT", path, content)
		if err != nil {
			return false, err
		}
		was := sent.ID
		if _ = again.into(&sent); !again.ok() || sent.ID != was {
			return false, fmt.Errorf("%s repeated %s, which made %s: %d %s", d.name, path, was, again.status, again.body)
		}
	}
	return true, nil
}

func (d *device) mention() (bool, error) {
	mentions := map[string]any{"user_ids": []string{pick(d, people...)}}
	if d.r.IntN(4) == 0 {
		mentions = map[string]any{"room": true}
	}
	return d.say(d.anyRoom(), map[string]any{"m.mentions": mentions})
}

func (d *device) edit() (bool, error) {
	room, e := d.anyEvent("m.room.message")
	if e.ID == "" || e.Sender != d.user {
		return false, nil
	}
	return d.say(room, map[string]any{
		"m.new_content": map[string]any{"msgtype": "m.text", "body": "edited"},
		"m.relates_to":  map[string]any{"rel_type": "m.replace", "event_id": e.ID},
	})
}

func (d *device) react() (bool, error) {
	room, e := d.anyEvent("m.room.message")
	if e.ID == "" {
		return false, nil
	}
	mark := d.mark()
	return d.send(room, "m.reaction", mark, map[string]any{
		"mark": mark, "m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": e.ID, "key": mark},
	})
}

// relation is what an event relates to.
type relation struct {
	Type string `json:"rel_type"`
	ID   string `json:"event_id"`
}

func (e event) relation() relation {
	var c struct {
		R relation `json:"m.relates_to"`
	}
	_ = json.Unmarshal(e.Content, &c)
	return c.R
}

func (d *device) thread() (bool, error) {
	room, e := d.anyEvent("m.room.message")
	root := e.ID
	switch r := e.relation(); {
	case root == "":
		return false, nil
	case r.Type == "m.thread":
		root = r.ID
	case r.Type != "":
		return false, nil
	}
	return d.say(room, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root}})
}

func (d *device) redact() (bool, error) {
	room, e := d.anyEvent("")
	if e.ID == "" || e.Type == "m.room.power_levels" || e.Type == "m.room.join_rules" {
		return false, nil
	}
	mark := d.mark()
	return d.send(room, "m.room.redaction", mark, map[string]any{"redacts": e.ID, "reason": mark})
}

func (d *device) setState(typ string, content map[string]any) (bool, error) {
	return d.put(in(d.anyRoom(), "state/"+typ+"/"), content)
}

func (d *device) levels() (bool, error) {
	room := d.anyRoom()
	m := d.rooms[room]
	if m == nil {
		return false, nil
	}
	var c map[string]any
	if err := json.Unmarshal(m.state[stateKey("m.room.power_levels", "")].Content, &c); err != nil {
		return false, nil
	}
	users, _ := c["users"].(map[string]any)
	if users == nil {
		return false, nil
	}
	if who := pick(d, people...); users[who] != 100. && m.state[stateKey("m.room.create", "")].Sender != who {
		users[who] = pick(d, 0, 0, 50)
	}
	c["notifications"] = map[string]any{"room": pick(d, 0, 50)}
	return d.put(in(room, "state/m.room.power_levels/"), c)
}

func (d *device) membership(what string) (bool, error) {
	return d.post(in(d.anyRoom(), what), map[string]any{"user_id": pick(d, people...)})
}

func (d *device) forgetRoom() (bool, error) {
	room := d.anyOf(d.w.known.all())
	ok, err := d.post(in(room, "forget"), map[string]any{})
	if ok {
		d.w.known.mu.Lock()
		defer d.w.known.mu.Unlock()
		if d.w.known.forgotten == nil {
			d.w.known.forgotten = map[string]bool{}
		}
		d.w.known.forgotten[d.user+room] = true
	}
	return ok, err
}

func (d *device) receipt() (bool, error) {
	room, e := d.anyEvent("")
	if e.ID == "" {
		return false, nil
	}
	typ := pick(d, "m.read", "m.read", "m.read.private")
	body := map[string]any{}
	if d.r.IntN(2) == 0 {
		if body["thread_id"] = "main"; e.relation().Type == "m.thread" {
			body["thread_id"] = e.relation().ID
		}
	}
	ok, err := d.post(in(room, "receipt/"+typ+"/"+url.PathEscape(e.ID)), body)
	thread, _ := body["thread_id"].(string)
	d.w.receipts.set(d, ok, e.ID, receiptID{room: room, thread: thread, typ: typ})
	return ok, err
}

func (d *device) markers() (bool, error) {
	room, e := d.anyEvent("")
	if e.ID == "" {
		return false, nil
	}
	ok, err := d.post(in(room, "read_markers"), map[string]any{"m.fully_read": e.ID, "m.read": e.ID})
	d.w.receipts.set(d, ok, e.ID, receiptID{room: room, typ: "m.read"}, receiptID{room: room, typ: "m.fully_read"})
	return ok, err
}

// create makes a room, unless there are many.
func (d *device) create() (bool, error) {
	if len(d.w.known.all()) >= 9 || d.w.plan.churn {
		return false, nil
	}
	return d.createRoom(map[string]any{"preset": pick(d, "public_chat", "private_chat"), "invite": []string{pick(d, people...)}})
}

// createRoom makes a room. A request that was cut and is repeated finds the room
// that it made by its alias.
func (d *device) createRoom(body map[string]any) (bool, error) {
	alias := d.mark()
	body["room_alias_name"] = alias
	a, err := d.do("POST", v3+"createRoom", body)
	if err != nil {
		return false, err
	}
	if a.code() == "M_ROOM_IN_USE" {
		if a, err = d.do("GET", v3+"directory/room/"+url.PathEscape("#"+alias+":test"), nil); err != nil {
			return false, err
		}
	}
	var made struct {
		ID string `json:"room_id"`
	}
	if err := a.into(&made); err != nil || !a.ok() {
		return false, nil // somebody was invited by himself
	}
	d.w.known.add(made.ID)
	return true, nil
}
