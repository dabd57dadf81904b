package clients

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// creates has the user create a room that all may enter.
func (u *user) creates(t *testing.T, name string, more args) (room string) {
	t.Helper()
	content := args{"preset": "public_chat", "name": name}
	for k, v := range more {
		content[k] = v
	}
	return u.must(t, "createRoom", args{"content": content}).RoomID
}

func spaceStory(t *testing.T, alice, bob *user) {
	space := alice.creates(t, "Weather", args{"creation_content": args{"type": "m.space"}})
	rain, snow := alice.creates(t, "Rain", nil), alice.creates(t, "Snow", nil)
	for order, room := range map[string]string{"a": rain, "b": snow} {
		alice.must(t, "setState", args{"room": space, "type": "m.space.child", "key": room, "content": args{"via": []string{"localhost"}, "order": order}})
	}
	bob.must(t, "enter", args{"room": space})
	comes(t, bob, "state", args{"room": space, "type": "m.space.child", "key": rain}, args{"via": []any{"localhost"}, "order": "a"})
	if got, want := ask[[]string](t, bob, "hierarchy", args{"room": space}), []string{"Weather", "Rain", "Snow"}; !slices.Equal(got, want) {
		t.Errorf("%s walks through %q, want %q", bob.name, got, want)
	}
	alice.must(t, "setState", args{"room": space, "type": "m.space.child", "key": rain, "content": args{}})
	comes(t, bob, "state", args{"room": space, "type": "m.space.child", "key": rain}, args{})
	if got, want := ask[[]string](t, bob, "hierarchy", args{"room": space}), []string{"Weather", "Snow"}; !slices.Equal(got, want) {
		t.Errorf("%s walks through %q, want %q", bob.name, got, want)
	}
}

func upgradeStory(t *testing.T, alice, bob *user) {
	old := alice.creates(t, "Rain", args{"room_version": "11"})
	bob.must(t, "enter", args{"room": old})
	alice.seesMember(t, old, bob, bob, "join")
	bob.refused(t, "M_FORBIDDEN", "upgrade", args{"room": old, "version": "12"})
	successor := alice.must(t, "upgrade", args{"room": old, "version": "12"}).RoomID
	bob.eventually(t, old, "the tombstone", func() bool {
		return ask[args](t, bob, "state", args{"room": old, "type": "m.room.tombstone", "key": ""})["replacement_room"] == successor
	})
	bob.refused(t, "M_FORBIDDEN", "send", args{"room": old, "body": "anybody here?", "txn": "late"})
	bob.must(t, "enter", args{"room": successor})
	comes(t, bob, "predecessor", args{"room": successor}, old)
	comes(t, bob, "state", args{"room": successor, "type": "m.room.name", "key": ""}, args{"name": "Rain"})
	alice.seesMember(t, successor, bob, bob, "join")
	alice.seesMessage(t, successor, bob.sends(t, successor, "here we are"))
}

func knockStory(t *testing.T, alice, bob *user) {
	rules := args{"type": "m.room.join_rules", "state_key": "", "content": args{"join_rule": "knock"}}
	room := alice.creates(t, "Shelter", args{"preset": "private_chat", "initial_state": []args{rules}})
	bob.refused(t, "M_FORBIDDEN", "enter", args{"room": room})
	bob.must(t, "knock", args{"room": room, "reason": "it is wet out here"})
	if e := alice.seesMember(t, room, bob, bob, "knock"); e.Content.Reason != "it is wet out here" {
		t.Errorf("%s hears the reason %q", alice.name, e.Content.Reason)
	}
	alice.must(t, "kick", args{"room": room, "user": bob.ID, "reason": "full"})
	bob.seesMember(t, room, alice, bob, "leave")
	if bob.sdk.name == jsSDK.name { // which holds knocks
		bob.eventually(t, room, "being turned away", func() bool { return bob.member(t, room, bob).Membership == "leave" })
	}
	bob.must(t, "knock", args{"room": room})
	alice.must(t, "invite", args{"room": room, "user": bob.ID})
	bob.seesMember(t, room, alice, bob, "invite")
	bob.must(t, "join", args{"room": room})
	alice.seesMessage(t, room, bob.sends(t, room, "dry at last"))
}

func directoryStory(t *testing.T, alice, bob *user) {
	name := "#rain-" + alice.Local + ":localhost"
	room := alice.creates(t, "Rain", args{"visibility": "public", "topic": "drops"})
	secret := alice.creates(t, "Storm", nil)
	published := ask[[]string](t, bob, "published", nil)
	if !slices.Contains(published, room) || slices.Contains(published, secret) {
		t.Errorf("%s finds %q published, want %q and not %q", bob.name, published, room, secret)
	}
	alice.must(t, "name", args{"room": room, "alias": name})
	if got := bob.must(t, "resolve", args{"alias": name}).RoomID; got != room {
		t.Errorf("%s leads %s to %q, want %q", name, bob.name, got, room)
	}
	if got := bob.must(t, "enter", args{"room": name}).RoomID; got != room {
		t.Errorf("%s enters %q by %s, want %q", bob.name, got, name, room)
	}
	alice.seesMember(t, room, bob, bob, "join")
	alice.must(t, "unname", args{"alias": name})
	bob.refused(t, "M_NOT_FOUND", "resolve", args{"alias": name})
}

func peopleStory(t *testing.T, alice, bob *user) {
	term := strings.ToUpper(alice.Local)
	if got := ask[[]string](t, bob, "people", args{"term": term}); len(got) != 0 {
		t.Errorf("%s finds %q, whom he does not know", bob.name, got)
	}
	meet(t, alice, bob)
	if got := ask[[]string](t, bob, "people", args{"term": term}); !slices.Equal(got, []string{alice.ID}) {
		t.Errorf("%s finds %q, want %q", bob.name, got, alice.ID)
	}
}

func historyStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	var ids []string
	for i := range 9 {
		ids = append(ids, alice.sends(t, room, fmt.Sprintf("drop %d", i)).ID)
	}
	bob.sees(t, room, "the last drop", func(e event) bool { return e.ID == ids[8] })
	around := ask[[]string](t, bob, "around", args{"room": room, "event": ids[4]})
	if i := slices.Index(around, ids[0]); i < 0 || !slices.Equal(around[i:], ids) {
		t.Errorf("%s finds %q around %s, want to end with %q", bob.name, around, ids[4], ids)
	}
	last := bob.must(t, "at", args{"room": room, "ts": time.Now().Add(time.Minute).UnixMilli(), "dir": "b"}).EventID
	if last != ids[8] {
		t.Errorf("%s finds %s as the last, want %s", bob.name, last, ids[8])
	}
	bob.refused(t, "M_NOT_FOUND", "at", args{"room": room, "ts": 1, "dir": "b"})

	// A device that has seen a few reads the rest.
	his := alice.program.login(t, bob, bob.name+" phone")
	his.syncs(t, 2)
	his.must(t, "fill", args{"room": room})
	var want []shown
	for i, id := range ids {
		want = append(want, shown{ID: id, Type: "m.room.message", Body: fmt.Sprintf("drop %d", i)})
	}
	his.shows(t, room, want)
}
