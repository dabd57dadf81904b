package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/timeline"
)

// truth is a room as the store has it, and what follows from that by the letter of
// the specification.
type truth struct {
	room  string
	facts []fact
	at    map[string]int // index of an event
	moves map[string][]move
}

// fact is an event of the room.
type fact struct {
	event
	txn string
	// before and after are the history visibilities.
	before, after string
	redactedBy    string
}

// move is a membership event of a user.
type move struct {
	at         int
	membership string
}

func (w *world) truthOf(room string) *truth {
	w.t.Helper()
	rows, err := w.life.server.Timeline.Range(w.ctx, room, 0, ^timeline.Pos(0), false, 0)
	if err != nil {
		w.fatalf("read %s: %v", room, err)
	}
	t := &truth{room: room, at: map[string]int{}, moves: map[string][]move{}}
	visibility := "shared"
	for i, row := range rows {
		e, err := row.Event()
		if err != nil {
			w.fatalf("read %s of %s: %v", row.Pos, room, err)
		}
		f := fact{event: event{ID: row.ID, Type: e.Type, Sender: e.Sender, StateKey: e.StateKey, Content: e.Content, Redacts: e.Redacts}, txn: row.Txn, before: visibility}
		if _, ok := t.at[f.ID]; ok {
			w.t.Errorf("%s has %s twice", room, f.ID)
		}
		t.at[f.ID] = i
		switch {
		case e.Type == "m.room.history_visibility" && *e.StateKey == "":
			visibility = content(f.event, "history_visibility")
		case e.Type == "m.room.member":
			t.moves[*e.StateKey] = append(t.moves[*e.StateKey], move{i, membershipOf(f.event)})
		}
		f.after = visibility
		t.facts = append(t.facts, f)
	}
	for _, f := range t.facts {
		if target, ok := t.at[f.Redacts]; f.Type == "m.room.redaction" && ok && t.facts[target].redactedBy == "" {
			t.facts[target].redactedBy = f.ID
		}
	}
	return t
}

// membership is a user's membership after the first n events, "" if there was none.
func (t *truth) membership(user string, n int) string {
	m := ""
	for _, x := range t.moves[user] {
		if x.at < n {
			m = x.membership
		}
	}
	return m
}

func (t *truth) now(user string) string { return t.membership(user, len(t.facts)) }

// until is how many events may be seen by a user at most: those up to the end of
// the last time in the room. ok is false for somebody who never was in it.
func (t *truth) until(user string) (n int, ok bool) {
	n = len(t.facts)
	for _, m := range slices.Backward(t.moves[user]) {
		if m.membership == "join" {
			return n, true
		}
		n = m.at + 1
	}
	return 0, false
}

// visible are the events that a user may see, oldest first. ok is false for
// somebody who may not look at all.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5
func (t *truth) visible(user string) (ids []string, ok bool) {
	n, was := t.until(user)
	if !was {
		if t.facts[len(t.facts)-1].after != "world_readable" {
			return nil, false
		}
		n = len(t.facts)
	}
	for i, f := range t.facts[:n] {
		memberships := []string{t.membership(user, i+1)}
		if f.Type == "m.room.member" && *f.StateKey == user {
			memberships = append(memberships, t.membership(user, i))
		}
		if !was {
			memberships = []string{"stranger"}
		}
		if slices.ContainsFunc(memberships, func(m string) bool {
			return t.allows(user, i, f.before, m) && f.Type == "m.room.history_visibility" || t.allows(user, i, f.after, m)
		}) {
			ids = append(ids, f.ID)
		}
	}
	return ids, true
}

func (t *truth) allows(user string, i int, visibility, membership string) bool {
	switch {
	case visibility == "world_readable", membership == "join":
		return true
	case membership == "stranger":
		return false
	case visibility == "invited":
		return membership == "invite"
	case visibility == "shared":
		return slices.ContainsFunc(t.moves[user], func(m move) bool { return m.at > i && m.membership == "join" })
	}
	return false
}

// state is the state after the first n events, by key.
func (t *truth) state(n int) map[string]string {
	state := map[string]string{}
	for _, f := range t.facts[:n] {
		if f.StateKey != nil {
			state[stateKey(f.Type, *f.StateKey)] = f.ID
		}
	}
	return state
}

// show says where a list differs from what it should be.
func (t *truth) show(got, want []string) string {
	name := func(list []string, i int) string {
		if i >= len(list) {
			return "nothing"
		}
		if n, ok := t.at[list[i]]; ok {
			return fmt.Sprintf("%d of the room: %s", n, t.facts[n].event)
		}
		return list[i] + ", which is not there"
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("%d events instead of %d; the first that differs is %d: it is %s\nand should be %s", len(got), len(want), i, name(got, i), name(want, i))
		}
	}
	return ""
}

// place adds to a text where its events are.
func (t *truth) place(text string) string {
	for i, f := range t.facts {
		text = strings.ReplaceAll(text, f.ID, fmt.Sprintf("%d (%s)", i, f.ID))
	}
	return text
}

// history tells the membership events of a user, for the messages.
func (t *truth) history(user string) string {
	var all []string
	for _, m := range t.moves[user] {
		all = append(all, fmt.Sprintf("%d %s", m.at, m.membership))
	}
	return user + ": " + strings.Join(all, ", ")
}
