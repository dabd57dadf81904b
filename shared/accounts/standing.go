package accounts

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// stands holds if nobody changed the standing since the account was read.
func (a account) stands() store.Cond {
	if a.Standing == 0 {
		return store.Absent("sg")
	}
	return store.Equal("sg", a.Standing)
}

// judged returns an account that an administrator asks about. Who asks is looked
// at first, so that nobody else learns which accounts there are.
func (s *Service) judged(ctx context.Context, by Session, user string) (account, error) {
	switch {
	case !by.Admin:
		return account{}, mxerr.Forbidden("Only administrators of this server may do this.")
	case !id.ValidUser(user) || !s.IsLocal(user):
		return account{}, mxerr.InvalidParam("%q is not a user of this server.", user)
	}
	a, ok, err := s.account(ctx, user)
	switch {
	case err != nil:
		return account{}, err
	case !ok || a.Deactivated:
		return account{}, mxerr.NotFound("There is no user %s on this server.", user)
	case a.Admin && user != by.UserID:
		return account{}, mxerr.Forbidden("%s is an administrator, too.", user)
	}
	return a, nil
}

// Locked reports to an administrator whether an account is locked.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid
func (s *Service) Locked(ctx context.Context, by Session, user string) (bool, error) {
	a, err := s.judged(ctx, by, user)
	return a.Locked, err
}

// Suspended reports to an administrator whether an account is suspended.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid
func (s *Service) Suspended(ctx context.Context, by Session, user string) (bool, error) {
	a, err := s.judged(ctx, by, user)
	return a.Suspended, err
}

// SetLocked locks an account, or unlocks it: its sessions stay, and are refused.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
func (s *Service) SetLocked(ctx context.Context, by Session, user string, locked bool) error {
	return s.setStanding(ctx, by, user, func(a *account) { a.Locked = locked })
}

// SetSuspended suspends an account, or ends that.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid
func (s *Service) SetSuspended(ctx context.Context, by Session, user string, suspended bool) error {
	return s.setStanding(ctx, by, user, func(a *account) { a.Suspended = suspended })
}

// setStanding changes how an account stands, and then the copies of it that its
// sessions have, so that a request reads its session alone. A login either sees the
// change or fails on it. A change that died on the way is finished by repeating
// it, and a copy is never replaced by one of an earlier change.
func (s *Service) setStanding(ctx context.Context, by Session, user string, change func(*account)) error {
	if by.Admin && by.UserID == user {
		return mxerr.Forbidden("You cannot do this to your own account.")
	}
	for range maxTries {
		a, err := s.judged(ctx, by, user)
		if err != nil {
			return err
		}
		was := a
		if change(&a); a != was {
			a.Standing++
			err := s.write(ctx, store.Update(store.Users, accountKey(user)).
				Set("lk", a.Locked).Set("su", a.Suspended).Set("sg", a.Standing).
				If(store.Exists(), store.Absent("x"), was.stands()))
			if store.Failed(err) != nil {
				continue
			}
			if err != nil {
				return fmt.Errorf("change standing of %s: %w", user, err)
			}
		}
		return s.tellSessions(ctx, user, a)
	}
	return fmt.Errorf("change standing of %s: too many others do", user)
}

func (s *Service) tellSessions(ctx context.Context, user string, a account) error {
	return s.eachDevice(ctx, user, func(_ string, row deviceRow) error {
		err := s.write(ctx, store.Update(store.Tokens, sessionKey(row.Session)).Add("v", 1).
			Set("a", a.Admin).Set("lk", a.Locked).Set("su", a.Suspended).Set("sg", a.Standing).
			If(store.Exists(), store.AnyOf(store.Absent("sg"), store.Less("sg", a.Standing))))
		if store.Failed(err) != nil {
			return nil // it has a later one, or has ended
		}
		return err
	})
}
