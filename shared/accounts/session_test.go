package accounts_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

var systemClock = clock.System{}

func TestAuthenticationReadsOnceAndWritesNothing(t *testing.T) {
	w := open(t, nil, nil, nil)
	c := w.register("alice")
	var m store.Meter
	if _, err := w.Authenticate(store.WithMeter(w.ctx, &m), c.AccessToken); err != nil {
		t.Fatal(err)
	}
	if got := m.Total(); got.Reads > 1 || got.Writes > 0 || got.Calls != 1 {
		t.Errorf("it took %v", got)
	}
}

func TestTroubleOfTheStoreIsNoUnknownToken(t *testing.T) {
	var ill atomic.Bool
	w := open(t, nil, func(local.Call) local.Fault {
		if ill.Load() {
			return local.Throttle
		}
		return local.NoFault
	}, nil)
	c := w.register("alice")
	ill.Store(true)
	if _, err := w.Authenticate(w.ctx, c.AccessToken); mxerr.As(err) != nil || !errors.Is(err, store.ErrThrottled) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Authenticate(grant.With(w.ctx, "nobody", nil, nil), c.AccessToken); err == nil || mxerr.As(err) != nil {
		t.Errorf("without grants: %v", err)
	}
	ill.Store(false)
	w.works(c.AccessToken)
}

func TestStrangeTokensAreUnknown(t *testing.T) {
	w := open(t, nil, nil, nil)
	c := w.register("alice")
	other := c.AccessToken[:len(c.AccessToken)-4] + "AAAA"
	for _, token := range []string{"x", "vat_", c.AccessToken + "x", strings.Repeat("a", 9000)} {
		_, err := w.Authenticate(w.ctx, token)
		dead(t, err, false)
		_, err = w.Refresh(w.ctx, token)
		dead(t, err, false)
	}
	// The session is there, so this is taken for one of its former tokens.
	_, err := w.Authenticate(w.ctx, other)
	dead(t, err, true)
}

func TestNewLoginOfADeviceEndsTheFormerSession(t *testing.T) {
	w := open(t, nil, nil, nil)
	w.register("alice")
	first := w.login("alice", accounts.DeviceRequest{DeviceID: "PHONE", DisplayName: "Phone"})
	second := w.login("@alice:localhost", accounts.DeviceRequest{DeviceID: "PHONE", DisplayName: "Other name"})
	_, err := w.Authenticate(w.ctx, first.AccessToken)
	dead(t, err, false)
	w.works(second.AccessToken)
	if d, err := w.Device(w.ctx, "@alice:localhost", "PHONE"); err != nil || d.DisplayName != "Phone" {
		t.Errorf("device %+v, %v", d, err)
	}

	var tokens [6]string
	good, errs := atOnce(len(tokens), func(i int) error {
		c, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "sesame", Device: accounts.DeviceRequest{DeviceID: "PHONE"}})
		tokens[i] = c.AccessToken
		return err
	})
	if good != len(tokens) {
		t.Fatal(errs)
	}
	live := 0
	for _, token := range tokens {
		if _, err := w.Authenticate(w.ctx, token); err == nil {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d sessions of one device are alive", live)
	}
}

func TestLogoutEndsOneSessionAndLogoutAllEvery(t *testing.T) {
	w := open(t, nil, nil, nil)
	a := w.register("alice")
	b := w.login("alice", accounts.DeviceRequest{})
	c := w.login("alice", accounts.DeviceRequest{})
	bob := w.register("bob")
	s, _ := w.Authenticate(w.ctx, a.AccessToken)
	for range 2 { // again changes nothing
		if err := w.Logout(w.ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Authenticate(w.ctx, a.AccessToken)
	dead(t, err, false)
	w.works(b.AccessToken)
	s, _ = w.Authenticate(w.ctx, b.AccessToken)
	if err := w.LogoutAll(w.ctx, s); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{b.AccessToken, c.AccessToken} {
		_, err = w.Authenticate(w.ctx, token)
		dead(t, err, false)
	}
	if ds, err := w.Devices(w.ctx, a.UserID); err != nil || len(ds) != 0 {
		t.Errorf("devices %v, %v", ds, err)
	}
	w.works(bob.AccessToken)
}

func TestDevicesAreNamedAndDeleted(t *testing.T) {
	w := open(t, nil, nil, nil)
	a := w.register("alice")
	b := w.login("alice", accounts.DeviceRequest{DeviceID: "TABLET"})
	if err := w.SetDeviceName(w.ctx, a.UserID, "TABLET", "Tablet"); err != nil {
		t.Fatal(err)
	}
	if d, err := w.Device(w.ctx, a.UserID, "TABLET"); err != nil || d.DisplayName != "Tablet" || d.LastSeen.IsZero() {
		t.Errorf("device %+v, %v", d, err)
	}
	for range 2 {
		if err := w.DeleteDevice(w.ctx, a.UserID, "TABLET"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Authenticate(w.ctx, b.AccessToken)
	dead(t, err, false)
	w.works(a.AccessToken)
	wants(t, w.SetDeviceName(w.ctx, a.UserID, "TABLET", "x"), "M_NOT_FOUND")
}

func TestRefreshIsRepeatedUntilItsTokensAreUsed(t *testing.T) {
	w := open(t, nil, nil, nil)
	w.register("alice")
	c0 := w.login("alice", accounts.DeviceRequest{Refresh: true})
	if c0.ExpiresInMS != time.Hour.Milliseconds() {
		t.Errorf("expires in %d ms", c0.ExpiresInMS)
	}
	var answers [5]accounts.Credentials
	if good, errs := atOnce(len(answers), func(i int) (err error) {
		answers[i], err = w.Refresh(w.ctx, c0.RefreshToken)
		return err
	}); good != len(answers) {
		t.Fatal(errs)
	}
	c1 := answers[0]
	for _, c := range answers {
		if c.AccessToken != c1.AccessToken || c.RefreshToken != c1.RefreshToken {
			t.Error("a repeated refresh made other tokens")
		}
	}
	w.works(c0.AccessToken) // requests under way do not fail
	w.works(c1.AccessToken)
	_, err := w.Refresh(w.ctx, c0.RefreshToken)
	dead(t, err, true)
	w.works(c0.AccessToken)

	// The new refresh token counts as use as well.
	c2, err := w.Refresh(w.ctx, c1.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	c3, err := w.Refresh(w.ctx, c2.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Refresh(w.ctx, c1.RefreshToken)
	dead(t, err, true)
	w.works(c3.AccessToken)
	if s, err := w.Authenticate(w.ctx, c3.AccessToken); err != nil || s.DeviceID != c0.DeviceID {
		t.Errorf("the device is %q, not %q; %v", s.DeviceID, c0.DeviceID, err)
	}
}

func TestExpiredAccessTokenIsASoftLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, nil)
		w.register("alice")
		c0 := w.login("alice", accounts.DeviceRequest{Refresh: true})
		time.Sleep(time.Hour)
		_, err := w.Authenticate(w.ctx, c0.AccessToken)
		dead(t, err, true)
		c1, err := w.Refresh(w.ctx, c0.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		// The answer is lost, and the client comes back in a day.
		time.Sleep(24 * time.Hour)
		_, err = w.Authenticate(w.ctx, c1.AccessToken)
		dead(t, err, true)
		c2, err := w.Refresh(w.ctx, c0.RefreshToken)
		if err != nil || c2.ExpiresInMS != time.Hour.Milliseconds() {
			t.Fatalf("%+v, %v", c2, err)
		}
		w.works(c2.AccessToken)
	})
}

func TestRefreshSurvivesKills(t *testing.T) {
	for _, kill := range []local.Fault{local.KillBefore, local.KillAfter} {
		for n := 1; n <= 3; n++ {
			var at int
			w := open(t, nil, func(local.Call) local.Fault {
				if at > 0 {
					if at--; at == 0 {
						return kill
					}
				}
				return local.NoFault
			}, nil)
			w.register("alice")
			c := w.login("alice", accounts.DeviceRequest{Refresh: true})
			at = n
			next, err := w.Refresh(w.ctx, c.RefreshToken)
			if err == nil {
				// This one dies in the first use of the new token.
				_, _ = w.Authenticate(w.ctx, next.AccessToken)
			}
			w = open(t, w.disk.Crash(), nil, nil)
			if next.AccessToken == "" {
				if next, err = w.Refresh(w.ctx, c.RefreshToken); err != nil {
					t.Fatal(err)
				}
			}
			w.works(next.AccessToken)
		}
	}
}

func TestPasswords(t *testing.T) {
	w := open(t, nil, nil, nil)
	w.register("alice")
	for _, req := range []accounts.Login{
		{User: "alice", Password: "wrong"},
		{User: "nobody", Password: "sesame"},
		{User: "@alice:elsewhere", Password: "sesame"},
		{Identifier: &accounts.Identifier{Type: "m.id.thirdparty", Medium: "email", Address: "a@b.c"}, Password: "sesame"},
		{User: "alice", Password: strings.Repeat("x", 600)},
	} {
		_, err := w.LoginWithPassword(w.ctx, req)
		wants(t, err, "M_FORBIDDEN")
	}
	for _, req := range []accounts.Login{{Password: "x"}, {User: "alice"}, {Identifier: &accounts.Identifier{User: "alice"}, Password: "x"}} {
		_, err := w.LoginWithPassword(w.ctx, req)
		wants(t, err, "M_MISSING_PARAM")
	}
	w.login("ALICE", accounts.DeviceRequest{})

	key := store.Key{Part: "U#@alice:localhost", Sort: "ACCOUNT"}
	it, err := w.db.Get(w.ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent)
	if err != nil || !strings.HasPrefix(it.Str("pw"), "$argon2id$v=19$m=8,t=1,p=1$") {
		t.Errorf("the password is kept as %q, %v", it.Str("pw"), err)
	}
	old, err := bcrypt.GenerateFromPassword([]byte("from synapse"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.Write(w.ctx, store.Update(store.Users, key).Set("pw", string(old))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "from synapse"}); err != nil {
		t.Errorf("with a bcrypt hash: %v", err)
	}
	if it, _ = w.db.Get(w.ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent); !strings.HasPrefix(it.Str("pw"), "$argon2id$") {
		t.Errorf("after a login the password is still kept as %q", it.Str("pw"))
	}
	if _, err := w.db.Write(w.ctx, store.Update(store.Users, key).Set("x", true)); err != nil {
		t.Fatal(err)
	}
	_, err = w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "from synapse"})
	wants(t, err, "M_USER_DEACTIVATED")
}

func TestGuessingPasswordsIsLimitedByUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, nil)
		w.register("alice")
		w.register("bob")
		guess := func(int) error {
			_, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "guess"})
			return err
		}
		_, errs := atOnce(25, guess)
		wrong := 0
		for _, err := range errs {
			if mxerr.Is(err, "M_FORBIDDEN") {
				wrong++
			} else {
				wants(t, err, "M_LIMIT_EXCEEDED")
			}
		}
		if wrong != 10 {
			t.Errorf("%d of 25 guesses at once were judged", wrong)
		}
		w.login("bob", accounts.DeviceRequest{})
		_, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "sesame"})
		wants(t, err, "M_LIMIT_EXCEEDED")
		time.Sleep(5 * time.Minute)
		for range 12 { // success forgets failures
			wants(t, guess(0), "M_FORBIDDEN")
			w.login("alice", accounts.DeviceRequest{})
		}
	})
}

func TestRegistrationsAreLimitedByAddress(t *testing.T) {
	w := open(t, nil, nil, nil)
	req := accounts.Registration{Password: "sesame", Address: "192.0.2.1"}
	for range 60 {
		if _, err := w.Register(w.ctx, req, dummy); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Register(w.ctx, req, dummy)
	wants(t, err, "M_LIMIT_EXCEEDED")
	req.Address = "192.0.2.2"
	if _, err := w.Register(w.ctx, req, dummy); err != nil {
		t.Error(err)
	}
}

func TestInteractiveSessions(t *testing.T) {
	w := open(t, nil, nil, nil)
	alice, bob := w.register("alice"), w.register("bob")
	op := accounts.Operation{Name: "delete device X", UserID: alice.UserID, Flows: [][]string{{accounts.StagePassword, accounts.StageDummy}}}
	challenged := func(err error, code string, completed ...string) string {
		t.Helper()
		e := mxerr.As(err)
		if e == nil || e.Status != 401 || e.Code != code {
			t.Fatalf("got %v, want 401 %q", err, code)
		}
		have, _ := e.Fields["completed"].([]string)
		if strings.Join(have, " ") != strings.Join(completed, " ") || e.Fields["flows"] == nil || e.Fields["params"] == nil {
			t.Errorf("%v, want completed %v", e.Fields, completed)
		}
		return e.Fields["session"].(string)
	}
	confirm := func(op accounts.Operation, a *accounts.AuthData) error {
		_, err := w.Confirm(w.ctx, op, a)
		return err
	}
	password := func(session, user, pw string) *accounts.AuthData {
		return &accounts.AuthData{Type: accounts.StagePassword, Session: session, Password: pw,
			Identifier: &accounts.Identifier{Type: "m.id.user", User: user}}
	}
	id := challenged(confirm(op, nil), "")
	challenged(confirm(op, password(id, "alice", "wrong")), "M_FORBIDDEN")
	if e := mxerr.As(confirm(op, password(id, "bob", "sesame"))); e == nil || e.Status != 403 {
		t.Errorf("with the password of another: %v, want 403", e)
	}
	challenged(confirm(op, &accounts.AuthData{Type: "m.login.sso", Session: id}), "M_UNKNOWN")
	challenged(confirm(op, password(id, "alice", "sesame")), "", accounts.StagePassword)
	// A completed stage is not judged again, and no answer is needed to go on.
	challenged(confirm(op, password(id, "alice", "wrong")), "", accounts.StagePassword)
	challenged(confirm(op, &accounts.AuthData{Session: id}), "", accounts.StagePassword)

	other := op
	other.Name = "delete device Y"
	wants(t, confirm(other, &accounts.AuthData{Type: accounts.StageDummy, Session: id}), "M_FORBIDDEN")
	other = op
	other.UserID = bob.UserID
	wants(t, confirm(other, &accounts.AuthData{Type: accounts.StageDummy, Session: id}), "M_FORBIDDEN")

	other = op
	other.Request = "another device"
	wants(t, confirm(other, &accounts.AuthData{Type: accounts.StageDummy, Session: id}), "M_FORBIDDEN")
	// Stages come in the order of a flow.
	fresh := challenged(confirm(op, nil), "")
	challenged(confirm(op, &accounts.AuthData{Type: accounts.StageDummy, Session: fresh}), "M_UNKNOWN")

	for range 2 { // a lost answer
		if err := confirm(op, &accounts.AuthData{Type: accounts.StageDummy, Session: id}); err != nil {
			t.Error(err)
		}
	}
	fresh = challenged(confirm(op, &accounts.AuthData{Type: accounts.StageDummy, Session: "vui_unknown"}), "M_UNKNOWN")
	if fresh == id {
		t.Error("an unknown session got a known one")
	}
}

func TestWhatIsConfirmedOnceIsConfirmedAnewEachTime(t *testing.T) {
	w := open(t, nil, nil, nil)
	alice := w.register("alice")
	op := accounts.ByPassword("generateLoginToken", alice.UserID, nil)
	op.Once = true
	_, err := w.Confirm(w.ctx, op, nil)
	session := mxerr.As(err).Fields["session"].(string)
	auth := &accounts.AuthData{Type: accounts.StagePassword, User: "alice", Password: "sesame", Session: session}
	good, errs := atOnce(4, func(int) error {
		_, err := w.Confirm(w.ctx, op, auth)
		return err
	})
	if good != 1 {
		t.Errorf("%d of 4 requests of one session were confirmed: %v", good, errs)
	}
}

func TestAnybodyMayConfirmForTheOwnAccount(t *testing.T) {
	w := open(t, nil, nil, nil)
	alice := w.register("alice")
	op := accounts.ByPassword("changePassword", "", nil)
	user, err := w.Confirm(w.ctx, op, &accounts.AuthData{Type: accounts.StagePassword, User: "alice", Password: "sesame"})
	if err != nil || user != alice.UserID {
		t.Errorf("%q, %v", user, err)
	}
}

func TestFirstLoginsAtOnceWithAForeignHashAllSucceed(t *testing.T) {
	w := open(t, nil, nil, nil)
	w.register("alice")
	old, err := bcrypt.GenerateFromPassword([]byte("sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Part: "U#@alice:localhost", Sort: "ACCOUNT"}
	if _, err := w.db.Write(w.ctx, store.Update(store.Users, key).Set("pw", string(old))); err != nil {
		t.Fatal(err)
	}
	good, errs := atOnce(6, func(int) error {
		_, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "sesame"})
		return err
	})
	if good != 6 {
		t.Error(errs)
	}
}

func TestUseOfADeviceIsNotedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, nil)
		c := w.register("alice")
		use := func(ip string) (writes float64) {
			t.Helper()
			session, err := w.Authenticate(w.ctx, c.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			var m store.Meter
			if err := w.Saw(store.WithMeter(w.ctx, &m), session, ip, strings.Repeat("é", 1000)); err != nil {
				t.Fatal(err)
			}
			return m.Total().Writes
		}
		seen := func(ip string, ago time.Duration) {
			t.Helper()
			d, err := w.Device(w.ctx, c.UserID, c.DeviceID)
			if err != nil || d.LastIP != ip || time.Since(d.LastSeen).Round(time.Minute) != ago {
				t.Errorf("%+v, %v, want %s, %s ago", d, err, ip, ago)
			}
		}
		seen("", 0)
		if use("192.0.2.1") == 0 {
			t.Error("the first use was not noted")
		}
		time.Sleep(59 * time.Minute)
		if n := use("192.0.2.2"); n != 0 {
			t.Errorf("%g units were written within the hour", n)
		}
		seen("192.0.2.1", 59*time.Minute)
		time.Sleep(2 * time.Minute)
		use("192.0.2.2")
		seen("192.0.2.2", 0)
	})
}

func TestASessionThatEndedIsNotNoted(t *testing.T) {
	w := open(t, nil, nil, nil)
	c := w.register("alice")
	session, err := w.Authenticate(w.ctx, c.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Logout(w.ctx, session); err != nil {
		t.Fatal(err)
	}
	if err := w.Saw(w.ctx, session, "192.0.2.1", ""); err != nil {
		t.Error(err)
	}
	_, err = w.Authenticate(w.ctx, c.AccessToken)
	dead(t, err, false)
}

func TestOpenIDTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, nil)
		c := w.register("alice")
		token, err := w.OpenIDToken(w.ctx, c.UserID)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(accounts.OpenIDLifetime - time.Second)
		if user, err := w.OpenIDUser(w.ctx, token); err != nil || user != c.UserID {
			t.Errorf("%q, %v", user, err)
		}
		time.Sleep(time.Second)
		_, err = w.OpenIDUser(w.ctx, token)
		wants(t, err, "M_UNKNOWN_TOKEN")
	})
}

func TestALoginTokenLetsOneDeviceIn(t *testing.T) {
	w := open(t, nil, nil, nil)
	c := w.register("alice")
	token, err := w.LoginToken(w.ctx, c.UserID)
	if err != nil {
		t.Fatal(err)
	}
	good, errs := atOnce(5, func(int) error {
		_, err := w.LoginWithToken(w.ctx, token, accounts.DeviceRequest{})
		return err
	})
	if good != 1 {
		t.Errorf("it let %d devices in", good)
	}
	for _, err := range errs {
		wants(t, err, "M_FORBIDDEN")
	}
}

func TestLoginTokensExpireAndAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, nil)
		c := w.register("alice")
		var token string
		for range 5 {
			var err error
			if token, err = w.LoginToken(w.ctx, c.UserID); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.LoginToken(w.ctx, c.UserID)
		wants(t, err, "M_LIMIT_EXCEEDED")
		time.Sleep(accounts.LoginTokenLifetime)
		_, err = w.LoginWithToken(w.ctx, token, accounts.DeviceRequest{})
		wants(t, err, "M_FORBIDDEN")
	})
}
