package clients

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
)

// devices counts those that are named by it.
var devices atomic.Int64

// elsewhere is another device of the first user, of the SDK of the second.
func elsewhere(t *testing.T, of, like *user) *user {
	t.Helper()
	u := like.program.login(t, of, fmt.Sprintf("%s elsewhere %d", of.name, devices.Add(1)))
	u.syncs(t, all)
	return u
}

func receiptStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	one, two := alice.sends(t, room, "one"), alice.sends(t, room, "two")
	bob.seesMessage(t, room, two)
	public := args{"room": room, "user": bob.ID, "type": "m.read"}
	bob.does(t, "read", room, one.ID, args{"type": "m.read"})
	three := bob.sends(t, room, "three") // with which the receipt comes
	comes(t, alice, "readUpTo", public, one.ID)

	// What bob reads in private is for his devices only.
	private := args{"room": room, "user": bob.ID, "type": "m.read.private"}
	his := elsewhere(t, bob, alice)
	comes(t, his, "readUpTo", public, one.ID)
	bob.does(t, "read", room, two.ID, args{"type": "m.read.private"})
	comes(t, his, "readUpTo", private, two.ID)
	alice.seesMessage(t, room, three)
	bob.does(t, "read", room, three.ID, args{"type": "m.read"})
	alice.sends(t, room, "four")
	comes(t, alice, "readUpTo", public, three.ID)
	if got := ask[string](t, alice, "readUpTo", private); got != "" {
		t.Errorf("%s knows that bob has read %s in private", alice.name, got)
	}
}

func threadReceiptStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	root := alice.sends(t, room, "rain")
	bob.reads(t, room, root.ID, said{Body: "rain"})
	drop := alice.does(t, "answer", room, root.ID, args{"body": "drop"})
	bob.reads(t, room, drop, said{Body: "drop", Thread: root.ID})
	bob.does(t, "read", room, root.ID, args{"type": "m.read"})
	bob.does(t, "read", room, drop, args{"type": "m.read", "thread": root.ID})
	bob.sends(t, room, "read")
	comes(t, alice, "readUpTo", args{"room": room, "user": bob.ID, "type": "m.read", "thread": root.ID}, drop)
	comes(t, alice, "readUpTo", args{"room": room, "user": bob.ID, "type": "m.read"}, root.ID)
}

func readMarkerStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	m := alice.sends(t, room, "so far")
	bob.seesMessage(t, room, m)
	his := elsewhere(t, bob, alice)
	bob.does(t, "fullyRead", room, m.ID, nil)
	comes(t, his, "data", args{"room": room, "type": "m.fully_read"}, args{"event_id": m.ID})
	comes(t, elsewhere(t, bob, alice), "data", args{"room": room, "type": "m.fully_read"}, args{"event_id": m.ID})
}

func typingStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	alice.must(t, "type", args{"room": room, "on": true})
	comes(t, bob, "typing", args{"room": room}, []string{alice.ID})
	bob.must(t, "type", args{"room": room, "on": true})
	both := []string{alice.ID, bob.ID}
	for _, u := range []*user{alice, bob} {
		u.eventually(t, room, "both typing", func() bool {
			typing := ask[[]string](t, u, "typing", args{"room": room})
			slices.Sort(typing)
			return slices.Equal(typing, both)
		})
	}
	alice.must(t, "type", args{"room": room, "on": false})
	bob.sends(t, room, "you first")
	bob.must(t, "type", args{"room": room, "on": false})
	for _, u := range []*user{alice, bob} {
		comes(t, u, "typing", args{"room": room}, []string{})
	}
}

func settingsStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	hers := elsewhere(t, alice, bob)
	alice.must(t, "set", args{"type": "org.example.umbrella", "content": args{"colour": "red"}})
	comes(t, hers, "data", args{"type": "org.example.umbrella"}, args{"colour": "red"})
	hers.must(t, "set", args{"type": "org.example.umbrella", "content": args{"colour": "blue"}})
	comes(t, alice, "data", args{"type": "org.example.umbrella"}, args{"colour": "blue"})
	alice.must(t, "set", args{"room": room, "type": "m.marked_unread", "content": args{"unread": true}})
	comes(t, hers, "data", args{"room": room, "type": "m.marked_unread"}, args{"unread": true})
	alice.must(t, "set", args{"type": "m.direct", "content": args{bob.ID: []string{room}}})
	comes(t, hers, "data", args{"type": "m.direct"}, args{bob.ID: []any{room}})
	if got := ask[args](t, bob, "data", args{"type": "org.example.umbrella"}); len(got) != 0 {
		t.Errorf("%s sees alice's setting: %v", bob.name, got)
	}
}

func tagStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	hers := elsewhere(t, alice, bob)
	alice.must(t, "tag", args{"room": room, "tag": "m.favourite", "order": 0.25})
	comes(t, hers, "data", args{"room": room, "type": "m.tag"}, args{"tags": map[string]any{"m.favourite": map[string]any{"order": 0.25}}})
	hers.must(t, "untag", args{"room": room, "tag": "m.favourite"})
	comes(t, alice, "data", args{"room": room, "type": "m.tag"}, args{"tags": map[string]any{}})
}

func ignoreStory(t *testing.T, alice, bob *user) {
	room, other := meet(t, alice, bob), meet(t, alice, bob)
	his := elsewhere(t, bob, alice)
	bob.must(t, "ignore", args{"users": []string{alice.ID}})
	list := args{"type": "m.ignored_user_list"}
	comes(t, his, "data", list, args{"ignored_users": map[string]any{alice.ID: map[string]any{}}})
	unheard := alice.sends(t, room, "can you hear me?")
	quiet := bob.sends(t, other, "it is quiet")
	for _, u := range []*user{bob, his, elsewhere(t, bob, alice)} {
		u.seesMessage(t, other, quiet)
		u.shows(t, room, []shown{})
	}
	bob.must(t, "ignore", args{"users": []string{}})
	comes(t, his, "data", list, args{"ignored_users": map[string]any{}})
	heard := alice.sends(t, room, "and now?")
	his.seesMessage(t, room, heard)
	elsewhere(t, bob, alice).shows(t, room, []shown{unheard, heard})
}

func muteStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	hers := elsewhere(t, alice, bob)
	alice.must(t, "mute", args{"room": room, "on": true})
	comes(t, hers, "muted", args{"room": room}, true)
	comes(t, elsewhere(t, alice, bob), "muted", args{"room": room}, true)
	alice.must(t, "mute", args{"room": room, "on": false})
	comes(t, hers, "muted", args{"room": room}, false)
}
