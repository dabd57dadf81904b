package faults

import (
	"net/url"
	"testing"

	"github.com/virga-im/virga/shared/store"
)

// publish is a step: alice says whether the room is in the directory.
func publish(visibility string) step {
	return func(w *world) error {
		_, err := w.client("alice").must("PUT", "/_matrix/client/v3/directory/list/room/"+url.PathEscape(w.vars["room"]), map[string]string{"visibility": visibility})
		return err
	}
}

var publishing = story{
	name:  "publish",
	setup: people("alice", "bob"),
	steps: []step{
		publish("public"), publish("private"), publish("public"),
		post("bob", "leave", map[string]any{}),
	},
	after: func(w *world) {
		rows := w.rows(store.Server, "LISTED")
		if len(rows) != 1 || rows[0].Int("j") != 1 {
			w.t.Errorf("the directory lists %v", rows)
		}
	},
}

// upgrading replaces a published room with an alias. However often the request is
// repeated, there is one new room.
var upgrading = story{
	name: "upgrade",
	setup: func(w *world) {
		w.register("alice")
		w.ok(w.clients["alice"].create("room", map[string]any{
			"room_version": "11", "room_alias_name": "lobby", "visibility": "public", "preset": "public_chat", "name": "The lobby", "topic": "Sit",
		}))
		w.settle()
		w.clients["alice"].watch()
	},
	steps: []step{func(w *world) error {
		a, err := w.client("alice").must("POST", roomPath(w.vars["room"], "upgrade"), map[string]string{"new_version": "12"})
		if err == nil {
			w.vars["new"] = a.str("replacement_room")
		}
		return err
	}},
	after: func(w *world) {
		if rooms := w.check(); len(rooms) != 2 || rooms[w.vars["new"]] == nil {
			w.t.Errorf("there are %d rooms, and the client knows %s", len(rooms), w.vars["new"])
		}
		c := w.clients["alice"]
		a, err := c.must("GET", roomPath(w.vars["room"], "state/m.room.tombstone"), nil)
		if err != nil || a.str("replacement_room") != w.vars["new"] {
			w.t.Errorf("the tombstone says %v, %v", a, err)
		}
		a, err = c.must("GET", "/_matrix/client/v3/directory/room/%23lobby:test", nil)
		if err != nil || a.str("room_id") != w.vars["new"] {
			w.t.Errorf("the alias points to %v, %v", a, err)
		}
		if rows := w.rows(store.Server, "PUBLIC"); len(rows) != 1 || rows[0].Key.Sort != w.vars["new"] {
			w.t.Errorf("published are %v", rows)
		}
		a, err = c.must("GET", roomPath(w.vars["room"], "state/m.room.power_levels"), nil)
		if n, _ := a.body["events_default"].(float64); err != nil || n != 50 {
			w.t.Errorf("the levels of the old room are %v, %v", a, err)
		}
	},
}

func TestKillsWhilePublishing(t *testing.T) { kills(t, publishing) }
func TestKillsWhileUpgrading(t *testing.T)  { kills(t, upgrading) }
