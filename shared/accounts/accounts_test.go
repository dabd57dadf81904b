package accounts_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// world is a service over the embedded store.
type world struct {
	*accounts.Service
	t    *testing.T
	ctx  context.Context
	db   store.DB
	log  *userlog.Service
	disk *local.Memory
	opt  accounts.Options
}

// open starts a service. Registration is open and passwords are cheap, unless
// edit says otherwise; the store may be one that a crash left.
func open(t *testing.T, disk *local.Memory, fault func(local.Call) local.Fault, edit func(*accounts.Options)) *world {
	t.Helper()
	if disk == nil {
		disk = local.NewMemory()
	}
	lo := disk.Options()
	lo.Fault = fault
	l, err := local.Open(lo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	log := &userlog.Service{DB: l.DB(), Clock: systemClock, Waker: l.Wake()}
	opt := accounts.Options{DB: l.DB(), Log: log, ServerName: "localhost", Registration: accounts.RegistrationOpen, PasswordCost: "min"}
	if edit != nil {
		edit(&opt)
	}
	return &world{
		Service: accounts.New(opt), t: t, db: l.DB(), log: log, disk: disk, opt: opt,
		ctx: grant.With(t.Context(), "test", grant.Of(accounts.Registers, accounts.Writes), nil),
	}
}

func byToken(o *accounts.Options) { o.Registration = accounts.RegistrationToken }

var dummy = &accounts.AuthData{Type: accounts.StageDummy}

func (w *world) register(name string) accounts.Credentials {
	w.t.Helper()
	c, err := w.Register(w.ctx, accounts.Registration{Username: name, Password: "sesame"}, dummy)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// session begins an interactive session for registering.
func (w *world) session() string {
	w.t.Helper()
	_, err := w.Register(w.ctx, accounts.Registration{}, nil)
	e := mxerr.As(err)
	if e == nil || e.Status != 401 {
		w.t.Fatalf("a request without auth: %v", err)
	}
	return e.Fields["session"].(string)
}

func (w *world) login(name string, d accounts.DeviceRequest) accounts.Credentials {
	w.t.Helper()
	c, err := w.LoginWithPassword(w.ctx, accounts.Login{User: name, Password: "sesame", Device: d})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) works(accessToken string) {
	w.t.Helper()
	if _, err := w.Authenticate(w.ctx, accessToken); err != nil {
		w.t.Errorf("a good access token: %v", err)
	}
}

// dead checks that the token is refused, softly or not.
func dead(t *testing.T, err error, soft bool) {
	t.Helper()
	e := mxerr.As(err)
	if e == nil || e.Status != 401 || e.Code != "M_UNKNOWN_TOKEN" || e.Fields["soft_logout"] != soft {
		t.Errorf("the token is answered %v, soft_logout should be %v", err, soft)
	}
}

func wants(t *testing.T, err error, code string) {
	t.Helper()
	if !mxerr.Is(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// atOnce runs f n times at once and returns how often it succeeded.
func atOnce(n int, f func(i int) error) (good int, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return good, errs
}

func TestRegisteredUserCanDoThings(t *testing.T) {
	w := open(t, nil, nil, nil)
	c := w.register("Alice")
	if c.UserID != "@alice:localhost" || c.DeviceID == "" || c.RefreshToken != "" || c.ExpiresInMS != 0 {
		t.Errorf("credentials %+v", c)
	}
	s, err := w.Authenticate(w.ctx, c.AccessToken)
	if err != nil || s.UserID != c.UserID || s.DeviceID != c.DeviceID || s.Admin || s.Guest {
		t.Errorf("session %+v, %v", s, err)
	}
	if p, err := w.Profile(w.ctx, c.UserID); err != nil || len(p) != 0 {
		t.Errorf("profile %v, %v", p, err)
	}
}

func TestNamesAreJudgedBeforeAuthentication(t *testing.T) {
	w := open(t, nil, nil, nil)
	w.register("alice")
	for name, code := range map[string]string{
		"alice": "M_USER_IN_USE", "ALICE": "M_USER_IN_USE", "al ice": "M_INVALID_USERNAME", "älice": "M_INVALID_USERNAME",
		"@alice:localhost": "M_INVALID_USERNAME", strings.Repeat("a", 250): "M_INVALID_USERNAME",
	} {
		_, err := w.Register(w.ctx, accounts.Registration{Username: name, Password: "x"}, nil)
		wants(t, err, code)
		wants(t, w.UsernameAvailable(w.ctx, name), code)
	}
	if err := w.UsernameAvailable(w.ctx, "b.o_b=-/+1"); err != nil {
		t.Error(err)
	}
}

func TestNobodyRegistersWhereItIsClosed(t *testing.T) {
	w := open(t, nil, nil, func(o *accounts.Options) { o.Registration = "closed" })
	_, err := w.Register(w.ctx, accounts.Registration{Username: "alice", Password: "x"}, dummy)
	wants(t, err, "M_FORBIDDEN")
	wants(t, w.UsernameAvailable(w.ctx, "alice"), "M_FORBIDDEN")
	_, err = w.RegistrationTokenValid(w.ctx, "x")
	wants(t, err, "M_FORBIDDEN")
}

func TestTwoRegistrationsOfOneNameMakeOneAccount(t *testing.T) {
	w := open(t, nil, nil, nil)
	good, errs := atOnce(8, func(int) error {
		c, err := w.Register(w.ctx, accounts.Registration{Username: "alice", Password: "sesame"}, dummy)
		if err == nil {
			w.works(c.AccessToken)
		}
		return err
	})
	if good != 1 {
		t.Errorf("%d accounts were made", good)
	}
	for _, err := range errs {
		wants(t, err, "M_USER_IN_USE")
	}
}

func TestLastUseOfARegistrationTokenIsOne(t *testing.T) {
	w := open(t, nil, nil, byToken)
	if err := w.EnsureRegistrationToken(w.ctx, "invite", 3, time.Time{}); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	good, errs := atOnce(len(names), func(i int) error {
		_, err := w.Register(w.ctx, accounts.Registration{Username: names[i], Password: "sesame"},
			&accounts.AuthData{Type: accounts.StageRegistrationToken, Token: "invite"})
		return err
	})
	if good != 3 {
		t.Errorf("three uses made %d accounts", good)
	}
	for _, err := range errs {
		if e := mxerr.As(err); e == nil || e.Status != 401 || e.Code != "M_FORBIDDEN" || e.Fields["session"] == nil {
			t.Errorf("without a use: %v", err)
		}
	}
	if valid, err := w.RegistrationTokenValid(w.ctx, "invite"); valid || err != nil {
		t.Errorf("a token without uses is %v, %v", valid, err)
	}
	// Ensuring it again at the next start gives it no new uses.
	if err := w.EnsureRegistrationToken(w.ctx, "invite", 3, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if valid, _ := w.RegistrationTokenValid(w.ctx, "invite"); valid {
		t.Error("a token came to life again")
	}
}

func TestRegistrationTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, byToken)
		if err := w.EnsureRegistrationToken(w.ctx, "soon", 0, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		auth := &accounts.AuthData{Type: accounts.StageRegistrationToken, Token: "soon"}
		if _, err := w.Register(w.ctx, accounts.Registration{Username: "alice", Password: "x"}, auth); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if valid, _ := w.RegistrationTokenValid(w.ctx, "soon"); valid {
			t.Error("it is valid after it expired")
		}
		_, err := w.Register(w.ctx, accounts.Registration{Username: "bob", Password: "x"}, auth)
		wants(t, err, "M_FORBIDDEN")
	})
}

func TestRepeatedRegistrationIsAnsweredTheSame(t *testing.T) {
	w := open(t, nil, nil, nil)
	auth := &accounts.AuthData{Type: accounts.StageDummy, Session: w.session()}
	req := accounts.Registration{Username: "alice", Password: "sesame", Device: accounts.DeviceRequest{Refresh: true}}
	var mu sync.Mutex
	answers := map[accounts.Credentials]bool{}
	good, errs := atOnce(6, func(int) error {
		c, err := w.Register(w.ctx, req, auth)
		mu.Lock()
		defer mu.Unlock()
		c.ExpiresInMS = 0 // grows less
		answers[c] = true
		return err
	})
	if good != 6 || len(answers) != 1 {
		t.Errorf("%d good answers, %d different ones; %v", good, len(answers), errs)
	}
	for c := range answers {
		w.works(c.AccessToken)
		if _, err := w.Refresh(w.ctx, c.RefreshToken); err != nil {
			t.Error(err)
		}
	}
	// The session is used up for anything else.
	req.Password = "other"
	_, err := w.Register(w.ctx, req, auth)
	wants(t, err, "M_FORBIDDEN")
	req.Username = "bob"
	_, err = w.Register(w.ctx, req, auth)
	wants(t, err, "M_FORBIDDEN")
}

// Whenever the process dies, there is nothing or everything; the client's retry
// in the same session gets an account in any case, and uses one invitation.
func TestRegistrationIsAllOrNothing(t *testing.T) {
	for _, kill := range []local.Fault{local.KillBefore, local.KillAfter} {
		done := false
		for n := 1; !done; n++ {
			var at int // call to be killed at, counted from the request on
			fault := func(c local.Call) local.Fault {
				if at > 0 {
					if at--; at == 0 {
						return kill
					}
				}
				return local.NoFault
			}
			w := open(t, nil, fault, byToken)
			if err := w.EnsureRegistrationToken(w.ctx, "invite", 1, time.Time{}); err != nil {
				t.Fatal(err)
			}
			req := accounts.Registration{Username: "alice", Password: "sesame"}
			auth := &accounts.AuthData{Type: accounts.StageRegistrationToken, Token: "invite", Session: w.session()}
			at = n
			_, err := w.Register(w.ctx, req, auth)
			if done = err == nil; !done && !errors.Is(err, local.ErrKilled) {
				t.Fatalf("killed at call %d: %v", n, err)
			}

			w = open(t, w.disk.Crash(), nil, byToken)
			taken, err := w.Exists(w.ctx, "@alice:localhost")
			if err != nil {
				t.Fatal(err)
			}
			if valid, err := w.RegistrationTokenValid(w.ctx, "invite"); err != nil || valid == taken {
				t.Errorf("killed at call %d: account %v, token valid %v, %v", n, taken, valid, err)
			}
			c, err := w.Register(w.ctx, req, auth)
			if err != nil {
				t.Errorf("killed at call %d, then repeated: %v", n, err)
				continue
			}
			w.works(c.AccessToken)
			w.login("alice", accounts.DeviceRequest{})
			if ds, err := w.Devices(w.ctx, c.UserID); err != nil || len(ds) != 2 {
				t.Errorf("devices %v, %v", ds, err)
			}
			if n > 30 {
				t.Fatal("a registration makes more than 30 calls")
			}
		}
	}
}

func TestInhibitedLoginMakesNoDevice(t *testing.T) {
	w := open(t, nil, nil, nil)
	auth := &accounts.AuthData{Type: accounts.StageDummy, Session: w.session()}
	for range 2 {
		c, err := w.Register(w.ctx, accounts.Registration{Username: "alice", Password: "sesame", InhibitLogin: true}, auth)
		if err != nil || c != (accounts.Credentials{UserID: "@alice:localhost"}) {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if ds, _ := w.Devices(w.ctx, "@alice:localhost"); len(ds) != 0 {
		t.Errorf("devices %v", ds)
	}
	w.login("alice", accounts.DeviceRequest{})
}

func TestSharedSecretRegistration(t *testing.T) {
	w := open(t, nil, nil, func(o *accounts.Options) { o.SharedSecret, o.Registration = "complement", "closed" })
	sign := func(nonce, name, role string) accounts.SharedSecretRegistration {
		m := hmac.New(sha1.New, []byte("complement"))
		m.Write([]byte(nonce + "\x00" + name + "\x00sesame\x00" + role))
		return accounts.SharedSecretRegistration{
			Registration: accounts.Registration{Username: name, Password: "sesame"},
			Nonce:        nonce, Admin: role == "admin", MAC: hex.EncodeToString(m.Sum(nil)),
		}
	}
	nonce, err := w.RegistrationNonce(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	forged := sign(nonce, "Alice", "notadmin")
	forged.Admin = true
	_, err = w.RegisterBySharedSecret(w.ctx, forged)
	wants(t, err, "M_FORBIDDEN")
	c, err := w.RegisterBySharedSecret(w.ctx, sign(nonce, "Alice", "admin"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := w.Authenticate(w.ctx, c.AccessToken); err != nil || !s.Admin || s.UserID != "@alice:localhost" {
		t.Errorf("session %+v, %v", s, err)
	}
	_, err = w.RegisterBySharedSecret(w.ctx, sign(nonce, "bob", "notadmin"))
	wants(t, err, "M_UNKNOWN")

	nonce, _ = w.RegistrationNonce(w.ctx)
	names := []string{"a", "b", "c", "d"}
	good, errs := atOnce(4, func(i int) error {
		_, err := w.RegisterBySharedSecret(w.ctx, sign(nonce, names[i], "notadmin"))
		return err
	})
	if good != 1 {
		t.Errorf("one nonce made %d accounts", good)
	}
	for _, err := range errs {
		wants(t, err, "M_UNKNOWN")
	}
}

func TestNonceLivesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, nil, nil, func(o *accounts.Options) { o.SharedSecret = "s" })
		nonce, err := w.RegistrationNonce(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_, err = w.RegisterBySharedSecret(w.ctx, accounts.SharedSecretRegistration{Nonce: nonce})
		wants(t, err, "M_UNKNOWN")
	})
	w := open(t, nil, nil, nil)
	_, err := w.RegistrationNonce(w.ctx)
	wants(t, err, "M_UNKNOWN") // no secret is configured
}
