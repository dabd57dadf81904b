package clients

import (
	"slices"
	"testing"
)

type device struct {
	ID   string `json:"device_id"`
	Name string `json:"display_name"`
}

// isOut fails unless the session of the user is over.
func (u *user) isOut(t *testing.T) {
	t.Helper()
	u.refused(t, "M_UNKNOWN_TOKEN", "whoami", nil)
}

func deviceStory(t *testing.T, alice, bob *user) {
	hers := bob.program.login(t, alice, alice.name+" phone")
	phone := hers.must(t, "whoami", nil).DeviceID
	alice.must(t, "rename", args{"device": phone, "name": "in the pocket"})
	devices := ask[[]device](t, hers, "devices", nil)
	if !slices.Contains(devices, device{phone, "in the pocket"}) || len(devices) != 2 {
		t.Errorf("%s has the devices %+v, want two, one of them %s in the pocket", alice.name, devices, phone)
	}
	if _, err := alice.try("remove", args{"device": phone, "password": "guess"}); err == nil {
		t.Errorf("%s removes a device with a wrong password", alice.name)
	}
	hers.must(t, "whoami", nil)
	alice.must(t, "remove", args{"device": phone, "password": password})
	hers.isOut(t)
	if devices := ask[[]device](t, alice, "devices", nil); len(devices) != 1 || devices[0].ID == phone {
		t.Errorf("%s has the devices %+v, want the one that is left", alice.name, devices)
	}
}

func passwordStory(t *testing.T, alice, bob *user) {
	hers := bob.program.login(t, alice, alice.name+" phone")
	alice.must(t, "setPassword", args{"password": password, "next": "a new umbrella"})
	hers.isOut(t)
	alice.must(t, "whoami", nil)
	bob.refused(t, "M_FORBIDDEN", "login", args{"user": alice.Local, "password": password})
}

func logoutAllStory(t *testing.T, alice, bob *user) {
	room := meet(t, alice, bob)
	hers := elsewhere(t, alice, bob)
	hers.must(t, "logoutAll", nil)
	hers.isOut(t)
	alice.isOut(t)
	m := bob.sends(t, room, "where are you all?")
	elsewhere(t, alice, bob).seesMessage(t, room, m)
}

func tokensStory(t *testing.T, alice, bob *user) {
	type openID struct {
		Token  string `json:"access_token"`
		Server string `json:"matrix_server_name"`
	}
	hers, his := ask[openID](t, alice, "openID", nil), ask[openID](t, bob, "openID", nil)
	if hers.Token == "" || hers.Token == his.Token || hers.Server != "localhost" {
		t.Errorf("OpenID tokens %+v and %+v, want two of localhost", hers, his)
	}
	if turn := ask[args](t, alice, "turn", nil); turn["uris"] != nil {
		t.Errorf("%s gets the TURN servers %v, and there is none", alice.name, turn)
	}
}

func pusherStory(t *testing.T, alice, bob *user) {
	hers := elsewhere(t, alice, bob)
	alice.must(t, "push", args{"key": "abc"})
	if got := ask[[]string](t, hers, "pushers", nil); !slices.Equal(got, []string{"abc"}) {
		t.Errorf("%s has the pushers %q", hers.name, got)
	}
	// A pusher goes with the device that set it.
	alice.must(t, "logout", nil)
	if got := ask[[]string](t, hers, "pushers", nil); len(got) != 0 {
		t.Errorf("%s has the pushers %q of a device that has logged out", hers.name, got)
	}
}
