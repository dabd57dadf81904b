package faults

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

func profilePath(user, field string) string {
	return "/_matrix/client/v3/profile/" + url.PathEscape(user) + "/" + field
}

// people registers users and lets the first make a public room, which the others
// join; all of them watch.
func people(names ...string) func(w *world) {
	return func(w *world) {
		w.t.Helper()
		w.register(names...)
		w.ok(w.clients[names[0]].create("room", map[string]any{"preset": "public_chat"}))
		for _, name := range names[1:] {
			_, err := w.clients[name].must("POST", roomPath(w.vars["room"], "join"), map[string]any{})
			w.ok(err)
		}
		w.settle()
		for _, name := range names {
			w.clients[name].watch()
		}
	}
}

// post is a step: a client posts something to the story's room.
func post(name, rest string, body map[string]any, codes ...string) step {
	return func(w *world) error {
		_, err := w.client(name).must("POST", roomPath(w.vars["room"], rest), body, codes...)
		return err
	}
}

// say is a step: a client sends a message; the event's id is the variable of the
// transaction's name. Sent again, it must be the same event.
func say(name, txn string) step {
	return func(w *world) error {
		event, err := w.client(name).send(w.vars["room"], txn, "message "+txn)
		if err == nil {
			w.vars[txn] = event
		}
		return err
	}
}

// sameAgain is a step: the request was answered, the client did not get it, and
// asks again.
func sameAgain(s step, variable string) step {
	return func(w *world) error {
		was := w.vars[variable]
		err := s(w)
		if err == nil && w.vars[variable] != was {
			w.t.Errorf("the same request made %q first and %q then", was, w.vars[variable])
		}
		return err
	}
}

// The very first request of a server's life: secrets and keys are made on the
// way. The client has a session, so the same request is answered the same.
var registering = story{
	name:  "register",
	setup: func(*world) {},
	steps: []step{
		func(w *world) error {
			a := w.client("alice").do("POST", "/_matrix/client/v3/register", map[string]any{"username": "alice", "password": "a password"})
			if a.status == 0 {
				return errDied
			}
			if w.vars["session"] = a.str("session"); a.status != 401 || w.vars["session"] == "" {
				return fmt.Errorf("no session: %v", a)
			}
			return nil
		},
		func(w *world) error {
			c := w.client("alice")
			a, err := c.must("POST", "/_matrix/client/v3/register", map[string]any{
				"username": "alice", "password": "a password",
				"auth": map[string]string{"type": "m.login.dummy", "session": w.vars["session"]},
			})
			c.token = a.str("access_token")
			return err
		},
		func(w *world) error { // without a session, the repeated request finds the name taken
			_, err := w.client("bob").must("POST", "/_matrix/client/v3/register", map[string]any{
				"username": "bob", "password": "a password", "auth": map[string]string{"type": "m.login.dummy"},
			}, "M_USER_IN_USE")
			return err
		},
		func(w *world) error {
			c := w.client("bob")
			a, err := c.must("POST", "/_matrix/client/v3/login", map[string]any{
				"type": "m.login.password", "password": "a password", "identifier": map[string]string{"type": "m.id.user", "user": "bob"},
			})
			c.token = a.str("access_token")
			return err
		},
	},
	after: func(w *world) {
		for _, name := range []string{"alice", "bob"} {
			a := w.clients[name].do("GET", "/_matrix/client/v3/account/whoami", nil)
			if a.str("user_id") != "@"+name+":test" {
				w.t.Errorf("%s is %v", name, a)
			}
			devices := 0
			for _, it := range w.rows(store.Users, userlog.Part("@"+name+":test")) {
				if _, ok := has(it.Key.Sort, "DEV#"); ok {
					devices++
				}
			}
			// Bob's client may have got a device that it does not know of.
			if devices < 1 || devices > 1 && name == "alice" {
				w.t.Errorf("%s has %d devices", name, devices)
			}
		}
	},
}

// creating returns the story of a room with an alias and invites.
func creating(name, version string, state int) story {
	var initial []map[string]any
	for i := range state {
		initial = append(initial, map[string]any{"type": "m.space.child", "state_key": fmt.Sprint(i), "content": map[string]any{"via": []string{"test"}}})
	}
	return story{
		name: name,
		setup: func(w *world) {
			w.register("alice", "bob", "carol")
			for _, c := range w.clients {
				c.watch()
			}
		},
		steps: []step{
			func(w *world) error {
				return w.client("alice").create("room", map[string]any{
					"room_version": version, "room_alias_name": "lobby", "visibility": "public", "name": "The lobby",
					"invite": []string{"@bob:test", "@carol:test"}, "initial_state": initial,
				})
			},
			// The invites follow the room, so a client that got no answer invites
			// whom it finds missing, as people do.
			post("alice", "invite", map[string]any{"user_id": "@bob:test"}),
			post("bob", "join", map[string]any{}),
			say("bob", "hello"),
		},
		after: func(w *world) {
			rooms := w.check()
			if len(rooms) != 1 || rooms[w.vars["room"]] == nil {
				w.t.Errorf("there are %d rooms, and the client knows %s", len(rooms), w.vars["room"])
				return
			}
			r := rooms[w.vars["room"]]
			if got := r.members["@bob:test"]; got != "join" {
				w.t.Errorf("bob is %q", got)
			}
			var types []string
			for _, o := range r.events {
				if o.IsState() && o.Type != "m.room.member" {
					types = append(types, o.Type)
				}
			}
			// create, levels, alias, join rules, visibility, guests, name
			if len(types) != 7+state {
				w.t.Errorf("the room began with %v", types)
			}
		},
	}
}

// joining, leaving and kicking with others who watch.
var members = story{
	name: "join, leave, kick",
	setup: func(w *world) {
		people("alice", "bob")(w)
		w.register("carol", "dave")
		w.clients["carol"].watch()
		w.clients["dave"].watch()
	},
	steps: []step{
		post("carol", "join", map[string]any{}),
		post("dave", "join", map[string]any{}),
		say("carol", "hello"),
		post("bob", "leave", map[string]any{}),
		post("alice", "kick", map[string]any{"user_id": "@dave:test"}, "M_FORBIDDEN"),
		say("alice", "peace"),
	},
	after: func(w *world) {
		r := w.check()[w.vars["room"]]
		for user, want := range map[string]string{"@alice:test": "join", "@bob:test": "leave", "@carol:test": "join", "@dave:test": "leave"} {
			if r.members[user] != want {
				w.t.Errorf("%s is %q, want %q", user, r.members[user], want)
			}
		}
		w.sawTheir("carol", "hello", "peace")
		w.sawTheir("dave", "hello")
	},
}

// sawTheir checks that a client saw the events of these transactions.
func (w *world) sawTheir(name string, txns ...string) {
	w.t.Helper()
	for _, txn := range txns {
		if !slices.Contains(w.clients[name].saw[w.vars["room"]], w.vars[txn]) {
			w.t.Errorf("%s did not see %s", name, txn)
		}
	}
}

var sending = story{
	name:  "send",
	setup: people("alice", "bob", "carol"),
	steps: []step{
		say("alice", "one"), sameAgain(say("alice", "one"), "one"),
		say("bob", "two"), say("alice", "three"), sameAgain(say("bob", "two"), "two"),
	},
	after: func(w *world) {
		for _, name := range []string{"alice", "bob", "carol"} {
			w.sawTheir(name, "one", "two", "three")
		}
	},
}

func redact(name, target, txn string) step {
	return func(w *world) error {
		a, err := w.client(name).must("PUT", roomPath(w.vars["room"], "redact/"+url.PathEscape(w.vars[target])+"/"+txn), map[string]any{"reason": "because"})
		if err == nil {
			w.vars[txn] = a.str("event_id")
		}
		return err
	}
}

var redacting = story{
	name: "redact",
	setup: func(w *world) {
		people("alice", "bob")(w)
		w.ok(say("bob", "secret")(w))
	},
	steps: []step{redact("alice", "secret", "no"), sameAgain(redact("alice", "secret", "no"), "no"), redact("bob", "secret", "twice")},
	after: func(w *world) {
		a, err := w.clients["alice"].must("GET", roomPath(w.vars["room"], "event/"+w.vars["secret"]), nil)
		if c, _ := a.body["content"].(map[string]any); err != nil || len(c) > 0 {
			w.t.Errorf("the event is %v, %v", a, err)
		}
	},
}

var profiles = story{
	name: "profile",
	setup: func(w *world) {
		people("alice", "bob")(w)
		w.ok(w.clients["bob"].create("second", map[string]any{"invite": []string{"@alice:test"}}))
		_, err := w.clients["alice"].must("POST", roomPath(w.vars["second"], "join"), map[string]any{})
		w.ok(err)
		w.settle()
		w.clients["alice"].watch()
		w.clients["bob"].watch()
	},
	steps: []step{func(w *world) error {
		c := w.clients["bob"]
		_, err := c.must("PUT", profilePath(c.user, "displayname"), map[string]string{"displayname": "Builder"})
		return err
	}},
	after: func(w *world) {
		for _, room := range []string{w.vars["room"], w.vars["second"]} {
			a, err := w.clients["alice"].must("GET", roomPath(room, "joined_members"), nil)
			all, _ := a.body["joined"].(map[string]any)
			bob, _ := all["@bob:test"].(map[string]any)
			if err != nil || bob["display_name"] != "Builder" {
				w.t.Errorf("bob is shown as %v, %v", bob, err)
			}
			changes := 0
			for _, o := range w.check()[room].own["@bob:test"] {
				if displayName(o.Event) == "Builder" {
					changes++
				}
			}
			if changes != 1 {
				w.t.Errorf("%d events show bob's name", changes)
			}
		}
	},
}

// fanning is the fan-out of one message to more members than are told at a time,
// while everybody's log has other things to tell.
var fanning = story{
	name: "fan-out",
	setup: func(w *world) {
		names := []string{"alice"}
		for i := range 17 {
			names = append(names, fmt.Sprintf("user%d", i))
		}
		people(names...)(w)
	},
	steps: []step{say("alice", "news"), func(w *world) error {
		c := w.clients["user3"]
		_, err := c.must("PUT", "/_matrix/client/v3/user/"+url.PathEscape(c.user)+"/account_data/x.y", map[string]string{"a": "b"})
		return err
	}, say("user3", "thanks")},
}

// look is a step: a device of the client looks what is new.
func look(name string) step {
	return func(w *world) error { return w.client(name).sync() }
}

// waking has people who were away for so long that nothing was written for them:
// what happened meanwhile, happens then, or while they catch up, is told once.
var waking = story{
	name: "wake",
	setup: func(w *world) {
		people("alice", "bob", "carol")(w)
		w.clients["bob"].elsewhere = true
		w.ok(w.clients["carol"].create("second", map[string]any{"preset": "public_chat"}))
		_, err := w.clients["bob"].must("POST", roomPath(w.vars["second"], "join"), map[string]any{})
		w.ok(err)
		w.settle()
		w.syncAll()
		w.clock.pass(userlog.ActiveFor + 2*time.Hour)
		w.ok(say("alice", "away")(w))
		w.vars["room"], w.vars["second"] = w.vars["second"], w.vars["room"]
		w.ok(say("carol", "elsewhere")(w))
		w.vars["room"], w.vars["second"] = w.vars["second"], w.vars["room"]
	},
	steps: []step{
		say("alice", "one"), look("bob"), say("bob", "two"), look("bob"),
		post("carol", "leave", map[string]any{}), look("carol"), look("alice"), say("alice", "three"), look("bob"),
	},
	after: func(w *world) {
		w.sawTheir("alice", "away", "one", "two", "three")
		w.sawTheir("bob", "away", "one", "two", "three")
		w.sawTheir("carol", "away", "one", "two")
	},
}

// aliasing makes and removes an alias that the room names.
var aliasing = story{
	name:  "alias",
	setup: people("alice", "bob"),
	steps: []step{
		func(w *world) error {
			// Done before, it is taken; nobody else here could have.
			a := w.clients["alice"].do("PUT", "/_matrix/client/v3/directory/room/%23den:test", map[string]string{"room_id": w.vars["room"]})
			if a.status == 0 {
				return errDied
			}
			return nil
		},
		func(w *world) error {
			_, err := w.clients["alice"].must("PUT", roomPath(w.vars["room"], "state/m.room.canonical_alias"), map[string]string{"alias": "#den:test"})
			return err
		},
		func(w *world) error {
			_, err := w.clients["alice"].must("DELETE", "/_matrix/client/v3/directory/room/%23den:test", nil, "M_NOT_FOUND")
			return err
		},
	},
}

// kills runs a story of its own test, in parallel with the others: it mostly
// waits.
func kills(t *testing.T, s story) {
	t.Parallel()
	killEverywhere(t, s)
}

func TestKillsWhileRegistering(t *testing.T)      { kills(t, registering) }
func TestKillsWhileSending(t *testing.T)          { kills(t, sending) }
func TestKillsWhileMembersComeAndGo(t *testing.T) { kills(t, members) }
func TestKillsWhileRedacting(t *testing.T)        { kills(t, redacting) }
func TestKillsWhileChangingAProfile(t *testing.T) { kills(t, profiles) }
func TestKillsWhileFanningOut(t *testing.T)       { kills(t, fanning) }
func TestKillsWhileWaking(t *testing.T)           { kills(t, waking) }
func TestKillsWhileChangingAliases(t *testing.T)  { kills(t, aliasing) }

func TestKillsWhileCreatingARoom(t *testing.T) {
	for _, version := range []string{"11", "12"} {
		kills := creating("create a room of version "+version, version, 0)
		t.Run(version, func(t *testing.T) { t.Parallel(); killEverywhere(t, kills) })
		many := creating("create a large room of version "+version, version, 12)
		t.Run(version+" in several transactions", func(t *testing.T) { t.Parallel(); killEverywhere(t, many) })
	}
}
