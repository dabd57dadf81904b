package clients

import (
	"fmt"
	"slices"
	"testing"
)

// said is a message as an app shows it.
type said struct {
	Body      string         `json:"body"`
	Edited    bool           `json:"edited"`
	Reactions map[string]int `json:"reactions"`
	ReplyTo   string         `json:"reply_to"`
	Thread    string         `json:"thread"`
}

// reads waits until the app of the user shows the message like that.
func (u *user) reads(t *testing.T, room, message string, want said) {
	t.Helper()
	if want.Reactions == nil {
		want.Reactions = map[string]int{}
	}
	comes(t, u, "message", args{"room": room, "event": message}, want)
}

// does has the user do something to a message, which makes an event.
func (u *user) does(t *testing.T, act, room, message string, a args) (id string) {
	t.Helper()
	all := args{"room": room, "event": message}
	for k, v := range a {
		all[k] = v
	}
	return u.must(t, act, all).EventID
}

func editStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	m := alice.sends(t, room, "it rains")
	bob.reads(t, room, m.ID, said{Body: "it rains"})
	alice.does(t, "edit", room, m.ID, args{"body": "it pours"})
	bob.reads(t, room, m.ID, said{Body: "it pours", Edited: true})
	last := alice.does(t, "edit", room, m.ID, args{"body": "it hails"})
	for _, u := range []*user{alice, bob} {
		u.reads(t, room, m.ID, said{Body: "it hails", Edited: true})
	}
	bob.does(t, "edit", room, m.ID, args{"body": "the sun shines"})
	alice.does(t, "redact", room, last, nil)
	for _, u := range []*user{alice, bob} {
		u.reads(t, room, m.ID, said{Body: "it pours", Edited: true})
	}
}

func reactionStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	m := alice.sends(t, room, "who has an umbrella?")
	bob.reads(t, room, m.ID, said{Body: m.Body})
	mine := bob.does(t, "react", room, m.ID, args{"key": "☂️"})
	alice.reads(t, room, m.ID, said{Body: m.Body, Reactions: map[string]int{"☂️": 1}})
	hers := alice.does(t, "react", room, m.ID, args{"key": "☂️"})
	rainbow := alice.does(t, "react", room, m.ID, args{"key": "🌈"})
	for _, u := range []*user{alice, bob} {
		u.reads(t, room, m.ID, said{Body: m.Body, Reactions: map[string]int{"☂️": 2, "🌈": 1}})
		related := ask[[]string](t, u, "related", args{"room": room, "event": m.ID, "relation": "m.annotation"})
		if want := []string{rainbow, hers, mine}; !slices.Equal(related, want) {
			t.Errorf("%s finds %q related, want %q", u.name, related, want)
		}
	}
	bob.does(t, "redact", room, mine, nil)
	for _, u := range []*user{alice, bob} {
		u.reads(t, room, m.ID, said{Body: m.Body, Reactions: map[string]int{"☂️": 1, "🌈": 1}})
	}
}

func replyStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	m := alice.sends(t, room, "does it rain?")
	bob.reads(t, room, m.ID, said{Body: m.Body})
	reply := bob.does(t, "reply", room, m.ID, args{"body": "look outside"})
	alice.reads(t, room, reply, said{Body: "look outside", ReplyTo: m.ID})
}

func threadStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	rain, snow := alice.sends(t, room, "rain"), alice.sends(t, room, "snow")
	bob.reads(t, room, snow.ID, said{Body: "snow"})
	var answers []string
	for i := range 3 {
		body := fmt.Sprintf("drop %d", i)
		from, to := bob, alice
		if i == 1 {
			from, to = alice, bob
		}
		id := from.does(t, "answer", room, rain.ID, args{"body": body})
		to.reads(t, room, id, said{Body: body, Thread: rain.ID})
		answers = append([]string{id}, answers...)
	}
	for _, u := range []*user{alice, bob} {
		related := ask[[]string](t, u, "related", args{"room": room, "event": rain.ID, "relation": "m.thread"})
		if !slices.Equal(related, answers) {
			t.Errorf("%s finds %q in the thread, want %q", u.name, related, answers)
		}
	}
	flake := bob.does(t, "answer", room, snow.ID, args{"body": "flake"})
	alice.reads(t, room, flake, said{Body: "flake", Thread: snow.ID})
	for _, u := range []*user{alice, bob} {
		if got, want := ask[[]string](t, u, "threads", args{"room": room}), []string{snow.ID, rain.ID}; !slices.Equal(got, want) {
			t.Errorf("%s lists the threads %q, want %q", u.name, got, want)
		}
	}
}
