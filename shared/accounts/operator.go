package accounts

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// An operator is whoever has the stores themselves, and so is asked for no session:
// the first administrator of a server cannot be made by another one. No route offers
// these.

// Operates is for CreateAccount, SetAdmin, ResetPassword, LogOut and registration
// tokens.
var Operates = grant.Of(Registers, LogsIn)

// CreateAccount makes an account without logging a device in, whatever the server's
// registration is, and returns the user id. Nil for the display name is the localpart.
func (s *Service) CreateAccount(ctx context.Context, username, password string, displayName *string, admin bool) (user string, err error) {
	if username == "" {
		return "", invalidUsername("The user name is empty.")
	}
	if user, err = s.available(ctx, username); err != nil {
		return "", err
	}
	n, err := s.newNamedAccount(ctx, user, Registration{Password: password, InhibitLogin: true}, account{Admin: admin}, displayName)
	if err != nil {
		return "", err
	}
	err = s.transact(ctx, n.writes...)
	if f := store.Failed(err); f != nil {
		return "", userInUse()
	}
	if err != nil {
		return "", fmt.Errorf("create %s: %w", user, err)
	}
	return user, nil
}

// SetAdmin makes an account that of an administrator, or ends that. Its sessions are
// told, so nobody has to log in again; a change that died on the way is finished by
// repeating it.
func (s *Service) SetAdmin(ctx context.Context, user string, admin bool) error {
	for range maxTries {
		a, err := s.operated(ctx, user)
		if err != nil {
			return err
		}
		was := a
		if a.Admin = admin; a != was {
			a.Standing++
			err := s.write(ctx, store.Update(store.Users, accountKey(user)).Set("a", admin).Set("sg", a.Standing).
				If(store.Exists(), store.Absent("x"), was.stands()))
			if store.Failed(err) != nil {
				continue
			}
			if err != nil {
				return fmt.Errorf("make an administrator of %s: %w", user, err)
			}
		}
		return s.tellSessions(ctx, user, a)
	}
	return fmt.Errorf("make an administrator of %s: too many others change the account", user)
}

// ResetPassword gives an account another password and, with logout, ends its sessions
// and deletes its devices.
func (s *Service) ResetPassword(ctx context.Context, user, password string, logout bool) error {
	if err := CheckPassword(password); err != nil {
		return err
	}
	if _, err := s.operated(ctx, user); err != nil {
		return err
	}
	if err := s.ChangePassword(ctx, user, password); err != nil || !logout {
		return err
	}
	return s.LogoutOthers(ctx, user, "")
}

// LogOut ends all sessions of an account and deletes its devices.
func (s *Service) LogOut(ctx context.Context, user string) error {
	if _, err := s.operated(ctx, user); err != nil {
		return err
	}
	return s.LogoutOthers(ctx, user, "")
}

// operated returns an account that can still be used.
func (s *Service) operated(ctx context.Context, user string) (account, error) {
	if !id.ValidUser(user) || !s.IsLocal(user) {
		return account{}, mxerr.InvalidParam("%q is not a user of this server.", user)
	}
	a, ok, err := s.account(ctx, user)
	switch {
	case err != nil:
		return account{}, err
	case !ok:
		return account{}, mxerr.NotFound("There is no user %s on this server.", user)
	case a.Deactivated:
		return account{}, deactivated()
	}
	return a, nil
}
