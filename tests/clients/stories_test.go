package clients

import (
	"fmt"
	"slices"
	"testing"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, of := range []sdk{jsSDK, mautrix} {
		t.Run(of.name, func(t *testing.T) {
			p := start(t, of, s.URL)
			alice := p.register(t, "alice-"+of.folder)
			if want := "@" + alice.Local + ":localhost"; alice.ID != want {
				t.Errorf("registered as %s, want %s", alice.ID, want)
			}
			first := alice.must(t, "whoami", nil)
			alice.must(t, "logout", nil)
			alice.refused(t, "M_UNKNOWN_TOKEN", "whoami", nil)

			again := p.login(t, alice, "again")
			second := again.must(t, "whoami", nil)
			if second.UserID != first.UserID || second.DeviceID == first.DeviceID || second.DeviceID == "" {
				t.Errorf("logged in as %+v after %+v, want the same user on a new device", second, first)
			}
			again.refused(t, "M_FORBIDDEN", "login", args{"user": alice.Local, "password": "looking glass"})
			again.refused(t, "M_USER_IN_USE", "register", args{"user": alice.Local, "password": password})
		})
	}
}

// A story is lived by two users who sync all the time. Alice starts it.
type story struct {
	name string
	tell func(t *testing.T, alice, bob *user)
}

var stories = []story{
	{"an invite is seen and accepted", inviteStory},
	{"an invite is declined", declineStory},
	{"messages go both ways in order", messagesStory},
	{"a redaction takes the content away", redactionStory},
	{"a new display name is seen", profileStory},
	{"leaving is seen", leaveStory},
	{"the kicked see why and come back", kickStory},
	{"the banned stay out until unbanned", banStory},
	{"a new device sees the room as it is", newDeviceStory},
	{"logging out ends the sync", logoutStory},

	{"an edit replaces what is shown", editStory},
	{"reactions are counted", reactionStory},
	{"a reply knows what it answers", replyStory},
	{"a thread is beside the room", threadStory},

	{"all see how far one has read, unless in private", receiptStory},
	{"a thread is read on its own", threadReceiptStory},
	{"every device knows where one left off", readMarkerStory},
	{"who types is seen", typingStory},
	{"a setting is known to every device", settingsStory},
	{"a room has tags", tagStory},
	{"the ignored are not heard", ignoreStory},
	{"a room is muted on every device", muteStory},

	{"a space lists rooms", spaceStory},
	{"a room goes on in another version", upgradeStory},
	{"who knocks is heard", knockStory},
	{"a room is found by its name", directoryStory},
	{"people are found by those who know them", peopleStory},
	{"a link opens amid the room", historyStory},

	{"a lost device is shut out", deviceStory},
	{"a new password ends the other sessions", passwordStory},
	{"all sessions end at once", logoutAllStory},
	{"tokens for others", tokensStory},
	{"a phone is pushed to until it logs out", pusherStory},

	{"what is not read is counted", unreadStory},
	{"what has rung is listed", notificationsStory},
	{"what was said is found", searchStory},
	{"who is there is seen", presenceStory},
}

func TestStories(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, pair := range [][2]sdk{{jsSDK, jsSDK}, {mautrix, mautrix}, {jsSDK, mautrix}, {mautrix, jsSDK}} {
		t.Run(pair[0].name+" with "+pair[1].name, func(t *testing.T) {
			t.Parallel()
			tellStories(t, s.URL, pair, waiting)
		})
	}
}

// tellStories tells all stories by a pair of SDKs, but for those that wait.
func tellStories(t *testing.T, url string, pair [2]sdk, waiting map[string]string) {
	t.Helper()
	hers := start(t, pair[0], url)
	his := hers
	if pair[0].name != pair[1].name {
		his = start(t, pair[1], url)
	}
	for i, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			if why := waiting[story.name]; why != "" {
				t.Skip(why)
			}
			of := fmt.Sprintf("-%d-%s-%s", i, pair[0].folder, pair[1].folder)
			alice, bob := hers.register(t, "alice"+of), his.register(t, "bob"+of)
			alice.syncs(t, all)
			bob.syncs(t, all)
			story.tell(t, alice, bob)
		})
	}
}

// invite has alice create a private room with bob invited, who sees it.
func invite(t *testing.T, alice, bob *user) (room string) {
	t.Helper()
	room = alice.must(t, "createRoom", args{"content": args{"preset": "private_chat", "name": "Rain"}}).RoomID
	alice.must(t, "invite", args{"room": room, "user": bob.ID})
	bob.seesMember(t, room, alice, bob, "invite")
	return room
}

// meet has alice and bob in a private room, and both know.
func meet(t *testing.T, alice, bob *user) (room string) {
	t.Helper()
	room = invite(t, alice, bob)
	bob.must(t, "join", args{"room": room})
	for _, u := range []*user{alice, bob} {
		u.seesMember(t, room, bob, bob, "join")
	}
	return room
}

func inviteStory(t *testing.T, alice, bob *user) {
	room := invite(t, alice, bob)
	// What an app shows of an invite is in its stripped state.
	bob.sees(t, room, "the name of the room", func(e event) bool { return e.Type == "m.room.name" && e.Content.Name == "Rain" })
	bob.sees(t, room, "who invites", func(e event) bool {
		return e.Type == "m.room.member" && *e.StateKey == alice.ID && e.Content.Membership == "join"
	})
	for _, e := range bob.history(room) {
		if e.ID != "" && e.Type != "m.room.member" {
			t.Errorf("an invited user gets more than stripped state: %s", e)
		}
	}
	bob.refused(t, "M_FORBIDDEN", "send", args{"room": room, "body": "too early", "txn": "early"})

	bob.must(t, "join", args{"room": room})
	for _, u := range []*user{alice, bob} {
		u.seesMember(t, room, bob, bob, "join")
		for _, of := range []*user{alice, bob} {
			if m := u.member(t, room, of); m.Membership != "join" {
				t.Errorf("%s shows %s as %q, want join", u.name, of.ID, m.Membership)
			}
		}
	}
	// The room begins with its creation, and alice has seen each step once.
	var types []string
	for _, e := range alice.history(room) {
		types = append(types, e.Type)
	}
	want := []string{"m.room.create", "m.room.member", "m.room.power_levels"}
	if len(types) < len(want) || !slices.Equal(types[:len(want)], want) {
		t.Errorf("the room begins with %q, want %q", types, want)
	}
	alice.once(t, room)
}

func declineStory(t *testing.T, alice, bob *user) {
	room := invite(t, alice, bob)
	bob.must(t, "leave", args{"room": room})
	alice.seesMember(t, room, bob, bob, "leave")
	bob.seesMember(t, room, bob, bob, "leave")
	bob.refused(t, "M_FORBIDDEN", "join", args{"room": room})
	alice.once(t, room)
}

// sends has the user send a message and returns how all should show it. Apps show
// their own message at once, so for one order everywhere the user must have seen
// what was sent before.
func (u *user) sends(t *testing.T, room, body string) shown {
	t.Helper()
	id := u.must(t, "send", args{"room": room, "body": body, "txn": "txn of " + body}).EventID
	return shown{ID: id, Type: "m.room.message", Body: body}
}

// seesMessage waits for the message and returns it.
func (u *user) seesMessage(t *testing.T, room string, m shown) event {
	t.Helper()
	e := u.sees(t, room, fmt.Sprintf("%q as %s", m.Body, m.ID), func(e event) bool { return e.ID == m.ID })
	if e.Content.Body != m.Body || e.Type != m.Type {
		t.Errorf("%s of %s sees %s, want %+v", u.name, u.sdk.name, e, m)
	}
	return e
}

// shows fails unless the app of the user shows exactly these messages in this
// order, and was handed each once.
func (u *user) shows(t *testing.T, room string, want []shown) {
	t.Helper()
	if got := u.messages(t, room); !slices.Equal(got, want) {
		t.Errorf("%s of %s shows\n%s\nwant\n%s", u.name, u.sdk.name, list(got), list(want))
	}
	u.once(t, room)
}

func list(messages []shown) (s string) {
	for _, m := range messages {
		s += fmt.Sprintf("  %s %q redacted=%v\n", m.ID, m.Body, m.Redacted)
	}
	return s
}

func messagesStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	var want []shown
	for i := range 6 {
		from, to := alice, bob
		if i%2 == 1 {
			from, to = bob, alice
		}
		m := from.sends(t, room, fmt.Sprintf("drop %d, Größe 🌧 \"\\\u2028<b>", i))
		want = append(want, m)
		if e := to.seesMessage(t, room, m); e.Sender != from.ID || e.Unsigned.TransactionID != "" {
			t.Errorf("%s sees %s with transaction id %q, want it of %s without one", to.name, e, e.Unsigned.TransactionID, from.ID)
		}
		// The transaction id is how an app knows its own message when it comes back.
		if e := from.seesMessage(t, room, m); e.Unsigned.TransactionID != "txn of "+m.Body {
			t.Errorf("%s sees its own message with transaction id %q", from.name, e.Unsigned.TransactionID)
		}
	}
	// Without waiting in between they keep their order too.
	for i := range 10 {
		want = append(want, alice.sends(t, room, fmt.Sprintf("burst %d", i)))
	}
	for _, u := range []*user{alice, bob} {
		u.seesMessage(t, room, want[len(want)-1])
		u.shows(t, room, want)
	}
}

func redactionStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	kept, gone := alice.sends(t, room, "kept"), alice.sends(t, room, "gone")
	bob.seesMessage(t, room, gone)
	bob.refused(t, "M_FORBIDDEN", "redact", args{"room": room, "event": gone.ID})
	redaction := alice.must(t, "redact", args{"room": room, "event": gone.ID, "reason": "a slip"}).EventID
	want := []shown{kept, {ID: gone.ID, Type: gone.Type, Redacted: true}}
	for _, u := range []*user{alice, bob} {
		e := u.sees(t, room, "the redaction", func(e event) bool { return e.ID == redaction })
		if e.Type != "m.room.redaction" || e.Redacts != gone.ID || e.Content.Reason != "a slip" {
			t.Errorf("%s sees %s of %q, want the redaction of %s", u.name, e, e.Redacts, gone.ID)
		}
		u.shows(t, room, want)
	}
	// Who comes later never gets the content, not even to hide it.
	later := bob.program.login(t, bob, bob.name+" later")
	later.syncs(t, all)
	later.sees(t, room, "the redaction", func(e event) bool { return e.ID == redaction })
	later.shows(t, room, want)
	for _, e := range later.history(room) {
		if e.Content.Body == gone.Body {
			t.Errorf("%s gets %s after its redaction", later.name, e)
		}
	}
}

func profileStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	for _, name := range []string{"Alice 🌧", "Alice in Rain"} {
		alice.must(t, "setName", args{"name": name})
		for _, u := range []*user{alice, bob} {
			u.sees(t, room, name, func(e event) bool {
				return e.Type == "m.room.member" && *e.StateKey == alice.ID && e.Content.Display == name && e.Content.Membership == "join"
			})
			if m := u.member(t, room, alice); m.Name != name || m.Membership != "join" {
				t.Errorf("%s shows %+v, want the name %q", u.name, m, name)
			}
		}
	}
	alice.once(t, room)
	bob.once(t, room)
}

func leaveStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	last := bob.sends(t, room, "goodbye")
	bob.must(t, "leave", args{"room": room})
	for _, u := range []*user{alice, bob} {
		u.seesMember(t, room, bob, bob, "leave")
		if m := u.member(t, room, bob); m.Membership != "leave" {
			t.Errorf("%s shows %+v, want it to have left", u.name, m)
		}
		u.shows(t, room, []shown{last})
	}
	bob.refused(t, "M_FORBIDDEN", "send", args{"room": room, "body": "still here?", "txn": "after"})
	bob.refused(t, "M_FORBIDDEN", "join", args{"room": room})

	// What is said after bob has left is not for him: he sees another room change,
	// and nothing of this one before it.
	alice.sends(t, room, "among ourselves")
	invite(t, alice, bob)
	bob.shows(t, room, []shown{last})
}

func kickStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	alice.must(t, "kick", args{"room": room, "user": bob.ID, "reason": "mind the puddle"})
	for _, u := range []*user{alice, bob} {
		if e := u.seesMember(t, room, alice, bob, "leave"); e.Content.Reason != "mind the puddle" {
			t.Errorf("%s sees the kick with the reason %q", u.name, e.Content.Reason)
		}
	}
	bob.refused(t, "M_FORBIDDEN", "join", args{"room": room})
	bob.refused(t, "M_FORBIDDEN", "kick", args{"room": room, "user": alice.ID})
	alice.must(t, "invite", args{"room": room, "user": bob.ID})
	bob.eventually(t, room, "the second invite", func() bool { return bob.member(t, room, bob).Membership == "invite" })
	bob.must(t, "join", args{"room": room})
	bob.eventually(t, room, "being back", func() bool { return bob.member(t, room, bob).Membership == "join" })
	m := bob.sends(t, room, "back")
	alice.seesMessage(t, room, m)
	bob.seesMessage(t, room, m)
}

func banStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	alice.must(t, "ban", args{"room": room, "user": bob.ID, "reason": "rained on the parade"})
	for _, u := range []*user{alice, bob} {
		if e := u.seesMember(t, room, alice, bob, "ban"); e.Content.Reason != "rained on the parade" {
			t.Errorf("%s sees the ban with the reason %q", u.name, e.Content.Reason)
		}
		if m := u.member(t, room, bob); m.Membership != "ban" {
			t.Errorf("%s shows %+v, want it banned", u.name, m)
		}
	}
	bob.refused(t, "M_FORBIDDEN", "join", args{"room": room})
	alice.refused(t, "M_FORBIDDEN", "invite", args{"room": room, "user": bob.ID})
	alice.must(t, "unban", args{"room": room, "user": bob.ID})
	alice.eventually(t, room, "bob unbanned", func() bool { return alice.member(t, room, bob).Membership == "leave" })
	alice.must(t, "invite", args{"room": room, "user": bob.ID})
	bob.eventually(t, room, "the invite after the ban", func() bool { return bob.member(t, room, bob).Membership == "invite" })
	bob.must(t, "join", args{"room": room})
	alice.seesMessage(t, room, bob.sends(t, room, "forgiven"))
}

func newDeviceStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	want := []shown{alice.sends(t, room, "one")}
	bob.seesMessage(t, room, want[0])
	want = append(want, bob.sends(t, room, "two"))
	phone := alice.program.login(t, alice, alice.name+" phone")
	phone.syncs(t, all)
	phone.seesMessage(t, room, want[1])
	phone.shows(t, room, want)
	for _, of := range []*user{alice, bob} {
		if m := phone.member(t, room, of); m.Membership != "join" {
			t.Errorf("the new device shows %+v, want %s joined", m, of.ID)
		}
	}
	// From now on all three devices see the same.
	want = append(want, phone.sends(t, room, "three"))
	bob.seesMessage(t, room, want[2])
	want = append(want, bob.sends(t, room, "four"))
	for _, u := range []*user{alice, bob, phone} {
		u.seesMessage(t, room, want[3])
		u.shows(t, room, want)
	}
}

func logoutStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	bob.must(t, "logout", nil)
	bob.refused(t, "M_UNKNOWN_TOKEN", "send", args{"room": room, "body": "out", "txn": "out"})
	// The user stays in the room, and the next device finds what it missed.
	m := alice.sends(t, room, "while you were out")
	again := bob.program.login(t, bob, bob.name+" again")
	again.syncs(t, all)
	again.seesMessage(t, room, m)
	again.shows(t, room, []shown{m})
}
