package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
)

func closed(o *accounts.Options) { o.Registration = accounts.RegistrationClosed }

func TestAnOperatorMakesTheFirstAdministrator(t *testing.T) {
	w := open(t, nil, nil, closed)
	w.ctx = grant.With(t.Context(), "admin", accounts.Operates, nil)
	user, err := w.CreateAccount(w.ctx, "Root", "correct horse", nil, true)
	if err != nil || user != "@root:localhost" {
		t.Fatal(user, err)
	}
	c, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "root", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := w.Authenticate(w.ctx, c.AccessToken); err != nil || !s.Admin {
		t.Errorf("%+v, %v", s, err)
	}
	if p, err := w.Profile(w.ctx, user); err != nil || string(p["displayname"]) != `"root"` {
		t.Errorf("the profile is %v, %v", p, err)
	}
	for name, password := range map[string]string{"root": "x", "": "x", "no spaces": "x", "empty": ""} {
		if user, err := w.CreateAccount(w.ctx, name, password, nil, false); err == nil {
			t.Errorf("%q with the password %q is %s", name, password, user)
		}
	}
	if err := w.ResetPassword(w.ctx, user, "battery staple", true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate(w.ctx, c.AccessToken); err == nil {
		t.Error("a session outlived its password")
	}
	if _, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "root", Password: "battery staple"}); err != nil {
		t.Error(err)
	}
	for _, user := range []string{"@nobody:localhost", "@root:elsewhere", "root"} {
		if w.SetAdmin(w.ctx, user, true) == nil || w.ResetPassword(w.ctx, user, "x", true) == nil || w.LogOut(w.ctx, user) == nil {
			t.Errorf("%s was changed", user)
		}
	}
}

// Who is made an administrator is one at once, in every session; who ceases to be one
// ceases at once. A change that died on the way is finished by repeating it.
func TestSessionsKnowWhoIsAdministrator(t *testing.T) {
	for n := int64(1); ; n++ {
		disk := local.NewMemory()
		w := open(t, disk, nil, nil)
		alice := w.register("alice")
		tokens := []string{alice.AccessToken}
		for i := range 2 {
			tokens = append(tokens, w.login("alice", accounts.DeviceRequest{DeviceID: fmt.Sprint("D", i)}).AccessToken)
		}
		are := func(want bool) {
			t.Helper()
			for _, token := range tokens {
				if s, err := w.Authenticate(w.ctx, token); err != nil || s.Admin != want || s.Locked {
					t.Errorf("killed at write %d: %+v, %v", n, s, err)
				}
			}
		}
		disk = disk.Crash()
		w = open(t, disk, local.KillAt(n, local.KillAfter, nil), nil)
		died := w.SetAdmin(w.ctx, alice.UserID, true) != nil
		w = open(t, disk.Crash(), nil, nil)
		for range 2 {
			if err := w.SetAdmin(w.ctx, alice.UserID, true); err != nil {
				t.Fatal(err)
			}
		}
		are(true)
		tokens = append(tokens, w.login("alice", accounts.DeviceRequest{}).AccessToken)
		are(true)
		if err := w.SetAdmin(w.ctx, alice.UserID, false); err != nil {
			t.Fatal(err)
		}
		are(false)
		if !died {
			return
		}
	}
}

func TestRegistrationTokensAreMadeAndRevoked(t *testing.T) {
	w := open(t, nil, nil, byToken)
	token, err := w.NewRegistrationToken(w.ctx, 1, time.Time{})
	if err != nil || len(token) != len("abcd-efgh-ijkl-mnop-qrst-uvwx") {
		t.Fatal(token, err)
	}
	valid := func(want bool) {
		t.Helper()
		if ok, err := w.RegistrationTokenValid(w.ctx, token); err != nil || ok != want {
			t.Errorf("valid: %v, %v", ok, err)
		}
	}
	valid(true)
	if err := w.RevokeRegistrationToken(w.ctx, token); err != nil {
		t.Fatal(err)
	}
	valid(false)
	if err := w.RevokeRegistrationToken(w.ctx, token); err == nil {
		t.Error("it was revoked twice")
	}
}
