package rooms_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
)

// However a deactivation dies, it has either not begun, or it is finished.
func TestADeactivationThatIsKilledIsFinished(t *testing.T) {
	for n := int64(1); ; n++ {
		disk := local.NewMemory()
		s := open(t, disk.Options())
		alice, bob := s.register("alice"), s.register("bob")
		login := accounts.Login{User: "alice", Password: "a password"}
		for range 2 {
			_, err := s.accounts.LoginWithPassword(s.ctx, login)
			s.ok(err)
		}
		in := s.create(rooms.Creation{Creator: alice})
		invited := s.create(rooms.Creation{Creator: bob, Invite: []string{alice}})
		s.ok(s.accounts.SetAccountData(s.ctx, alice, "", "org.example", text("secret")))
		_ = s.store.Close()

		opt := disk.Options()
		opt.Fault = local.KillAt(n, local.KillAfter, nil)
		s = open(t, opt)
		died := s.rooms.Deactivate(s.ctx, alice, true) != nil
		_ = s.store.Close()

		s = open(t, disk.Crash().Options())
		s.rooms.Clock = later{time.Hour}
		s.ok(s.rooms.FinishDeactivations(s.ctx))
		_, err := s.accounts.LoginWithPassword(s.ctx, login)
		if !mxerr.Is(err, "M_USER_DEACTIVATED") {
			t.Fatalf("killed at write %d: after the first write the account can be used: %v", n, err)
		}
		devices, err := s.accounts.Devices(s.ctx, alice)
		s.ok(err)
		data, err := s.accounts.AllAccountData(s.ctx, alice)
		s.ok(err)
		var still []string
		for _, room := range []string{in, invited} {
			c, err := s.log.Cursor(s.ctx, alice, room)
			s.ok(err)
			if c.Membership != "leave" {
				still = append(still, fmt.Sprintf("%s: %s", room, c.Membership))
			}
		}
		left, err := s.accounts.Deactivations(s.ctx)
		s.ok(err)
		if len(devices)+len(data)+len(still)+len(left) > 0 {
			t.Errorf("killed at write %d: devices %v, account data %v, rooms %v, to do %v", n, devices, data, still, left)
		}
		_ = s.store.Close()
		if !died {
			if n < 5 {
				t.Errorf("only %d writes", n-1)
			}
			return
		}
	}
}

// A room that was joined by a request which was under way is left as well.
func TestADeactivationIsNotOverAtOnce(t *testing.T) {
	s := open(t, local.NewMemory().Options())
	alice, bob := s.register("alice"), s.register("bob")
	room := s.create(rooms.Creation{Creator: bob, Preset: "public_chat"})
	s.ok(s.rooms.Deactivate(s.ctx, alice, false))
	s.ok(s.rooms.FinishDeactivations(s.ctx))
	s.ok(s.rooms.Join(s.ctx, alice, room, ""))
	s.rooms.Clock = later{time.Hour}
	s.ok(s.rooms.FinishDeactivations(s.ctx))
	if c, err := s.log.Cursor(s.ctx, alice, room); err != nil || c.Membership != "leave" {
		t.Errorf("%q, %v", c.Membership, err)
	}
}
