package accounts_test

import (
	"fmt"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/local"
)

var admin = accounts.Session{UserID: "@root:localhost", Admin: true}

// Whatever logins and changes are under way at once, each session that comes out
// of it stands as the account does.
func TestSessionsStandAsTheirAccountDoes(t *testing.T) {
	for round := range 20 {
		w := open(t, nil, nil, func(o *accounts.Options) { o.NoLimits = true })
		alice := w.register("alice")
		tokens := make([]string, 6)
		_, errs := atOnce(12, func(i int) error {
			switch {
			case i%2 == 0:
				c, err := w.LoginWithPassword(w.ctx, accounts.Login{User: "alice", Password: "sesame"})
				tokens[i/2] = c.AccessToken
				return err
			default:
				return w.SetSuspended(w.ctx, admin, alice.UserID, i%4 == 1)
			}
		})
		for _, err := range errs {
			t.Log(err) // too many at once
		}
		want, err := w.Suspended(w.ctx, admin, alice.UserID)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range append(tokens, alice.AccessToken) {
			if token == "" {
				continue
			}
			s, err := w.Authenticate(w.ctx, token)
			if err != nil {
				t.Fatal(err)
			}
			if s.Suspended != want {
				t.Errorf("round %d: a session is suspended: %v, its account: %v", round, s.Suspended, want)
			}
		}
	}
}

// A change that died on the way is finished by repeating it, and one that was
// acknowledged holds for every session.
func TestALockThatWasKilledIsFinishedByRepeatingIt(t *testing.T) {
	for n := int64(1); ; n++ {
		disk := local.NewMemory()
		w := open(t, disk, nil, nil)
		alice := w.register("alice")
		var tokens []string
		for i := range 3 {
			tokens = append(tokens, w.login("alice", accounts.DeviceRequest{DeviceID: fmt.Sprint("D", i)}).AccessToken)
		}
		disk = disk.Crash()
		w = open(t, disk, local.KillAt(n, local.KillAfter, nil), nil)
		died := w.SetLocked(w.ctx, admin, alice.UserID, true) != nil
		w = open(t, disk.Crash(), nil, nil)
		if died {
			if err := w.SetLocked(w.ctx, admin, alice.UserID, true); err != nil {
				t.Fatal(err)
			}
		}
		for _, token := range append(tokens, alice.AccessToken) {
			if s, err := w.Authenticate(w.ctx, token); err != nil || !s.Locked {
				t.Errorf("killed at write %d: locked %v, %v", n, s.Locked, err)
			}
		}
		if !died {
			return
		}
	}
}

// A client that refreshes while its account is locked or unlocked loses neither
// its tokens nor the lock.
func TestARefreshDoesNotUndoALock(t *testing.T) {
	for range 20 {
		w := open(t, nil, nil, func(o *accounts.Options) { o.NoLimits = true })
		w.register("alice")
		c := w.login("alice", accounts.DeviceRequest{DeviceID: "D", Refresh: true})
		_, errs := atOnce(2, func(i int) error {
			if i == 0 {
				return w.SetLocked(w.ctx, admin, c.UserID, true)
			}
			_, err := w.Refresh(w.ctx, c.RefreshToken)
			if err != nil {
				wants(t, err, "M_USER_LOCKED")
			}
			return nil
		})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if s, err := w.Authenticate(w.ctx, c.AccessToken); err != nil || !s.Locked {
			t.Errorf("locked %v, %v", s.Locked, err)
		}
		if err := w.SetLocked(w.ctx, admin, c.UserID, false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Refresh(w.ctx, c.RefreshToken); err != nil {
			t.Errorf("unlocked: %v", err)
		}
	}
}
