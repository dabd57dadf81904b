package clients

import (
	"slices"
	"testing"
	"time"
)

type counts struct {
	All  int `json:"notification_count"`
	Loud int `json:"highlight_count"`
}

func unreadStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	his := elsewhere(t, bob, alice)
	alice.sends(t, room, "one")
	two := alice.sends(t, room, "two")
	for _, u := range []*user{bob, his, elsewhere(t, bob, alice)} {
		comes(t, u, "unread", args{"room": room}, counts{All: 2})
	}
	bob.seesMessage(t, room, two)
	bob.does(t, "read", room, two.ID, args{"type": "m.read"})
	comes(t, his, "unread", args{"room": room}, counts{})
	alice.sends(t, room, "three")
	comes(t, his, "unread", args{"room": room}, counts{All: 1})
	comes(t, alice, "unread", args{"room": room}, counts{})
}

func notificationsStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	alice.sends(t, room, "one")
	two := alice.sends(t, room, "two")
	bob.seesMessage(t, room, two)
	bob.soonFinds(t, "notified", nil, []string{"two", "one"})
}

func searchStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	alice.sends(t, room, "the drizzle in the "+alice.Local)
	alice.sends(t, room, "nothing of it")
	last := alice.sends(t, room, "More Drizzle")
	bob.seesMessage(t, room, last)
	bob.soonFinds(t, "search", args{"term": "drizzle"}, []string{"More Drizzle", "the drizzle in the " + alice.Local})
	stranger := alice.program.register(t, "stranger-to-"+alice.Local)
	if got := ask[[]string](t, stranger, "search", args{"term": "drizzle"}); len(got) != 0 {
		t.Errorf("a stranger finds %q", got)
	}
}

func presenceStory(t *testing.T, alice, bob *user) {
	meet(t, alice, bob)
	alice.must(t, "setPresence", args{"presence": "unavailable", "status": "waiting for the rain to end"})
	bob.eventually(t, "", "alice unavailable", func() bool {
		p := ask[args](t, bob, "presence", args{"user": alice.ID})
		return p["presence"] == "unavailable" && p["status_msg"] == "waiting for the rain to end"
	})
}

// soonFinds has the user ask until the answer is as wanted, for what the server
// does after it has answered.
func (u *user) soonFinds(t *testing.T, act string, a args, want []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := ask[[]string](t, u, act, a)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s of %s finds %q, want %q", u.name, u.sdk.name, got, want)
		}
	}
}
