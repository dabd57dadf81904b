package rooms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
)

// Deactivates is for Deactivate, and FinishesDeactivations for
// FinishDeactivations.
var (
	Deactivates           = grant.Of(Writes, accounts.Confirms, grant.WriteTable("server"))
	FinishesDeactivations = grant.Of(Writes, accounts.LogsIn, grant.WriteTable("server"))
)

const (
	// leavingTime is how long a request spends on leaving rooms. The rooms that
	// are left then are the worker's.
	leavingTime = 5 * time.Second
	// settled is after how long no request is under way any more that was
	// authenticated before an account was deactivated, and could still join.
	settled = 2 * time.Minute
)

// Deactivate ends an account: the devices are logged out before it returns, and
// the rooms left and invites rejected then or a little later, whatever happens to
// this process.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
func (s *Service) Deactivate(ctx context.Context, user string, erase bool) error {
	d, err := s.Accounts.Deactivate(ctx, user, erase)
	if err != nil {
		return err
	}
	return s.depart(ctx, d, s.Clock.Now().Add(leavingTime))
}

// FinishDeactivations does what is left to do about accounts that were
// deactivated. One that cannot be finished now does not keep the others.
func (s *Service) FinishDeactivations(ctx context.Context) error {
	all, err := s.Accounts.Deactivations(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range all {
		now := s.Clock.Now()
		err := s.depart(ctx, d, time.Time{})
		if err == nil && now.Sub(d.At) > settled {
			err = s.Accounts.Deactivated(ctx, d)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("deactivate %s: %w", d.UserID, err))
		}
	}
	return errors.Join(errs...)
}

// depart logs the devices of a deactivated account out and takes it out of its
// rooms, the latter until a time if one is given. All of it can be repeated.
func (s *Service) depart(ctx context.Context, d accounts.Deactivation, until time.Time) error {
	if err := s.Accounts.LogoutOthers(ctx, d.UserID, ""); err != nil {
		return err
	}
	if d.Erase {
		if err := s.Accounts.Erase(ctx, d.UserID); err != nil {
			return err
		}
	}
	cursors, err := s.Log.Cursors(ctx, d.UserID)
	if err != nil {
		return err
	}
	for _, c := range cursors {
		switch c.Membership {
		case "join", "invite", "knock":
		default:
			continue
		}
		if !until.IsZero() && s.Clock.Now().After(until) {
			return nil
		}
		// A room that does not let the user leave would not do so later either.
		if err := s.Leave(ctx, d.UserID, c.Room, ""); err != nil && mxerr.As(err) == nil {
			return err
		}
	}
	return nil
}
