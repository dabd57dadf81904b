package accounts

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// ChangePassword gives an account another password. A login that was under way
// with the former one fails. Devices are not logged out by it; see LogoutOthers.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
func (s *Service) ChangePassword(ctx context.Context, user, password string) error {
	phc, err := s.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	err = s.write(ctx, store.Update(store.Users, accountKey(user)).Set("pw", phc).If(store.Exists(), store.Absent("x")))
	if store.Failed(err) != nil {
		return deactivated()
	}
	return err
}

// CheckPassword refuses what nobody can have as a password.
func CheckPassword(password string) error {
	if password == "" {
		return mxerr.MissingParam("An account needs a password.")
	}
	if len(password) > maxPassword {
		return mxerr.InvalidParam("A password has at most %d bytes.", maxPassword)
	}
	return nil
}

func deactivated() *mxerr.Error {
	return mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "This account was deactivated.")
}

// Deactivation is an account that was deactivated, and may still be in rooms.
type Deactivation struct {
	UserID string
	At     time.Time
	// Erase says that what is kept for the user is to be deleted.
	Erase bool
}

// deactivationPart is the partition of what has to be done about accounts that
// were deactivated. There is little at a time.
const deactivationPart = "DEACTIVATING"

// Deactivate ends an account for good: nobody can log in with it, nor take its
// name. In the same transaction it notes that the rest has to be done, which is
// logging the devices out, leaving the rooms and, with erase, Erase. Whoever does
// it calls Deactivated at its end. To deactivate again begins the rest anew.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
func (s *Service) Deactivate(ctx context.Context, user string, erase bool) (Deactivation, error) {
	d := Deactivation{UserID: user, At: s.opt.Clock.Now(), Erase: erase}
	note := store.Update(store.Server, store.Key{Part: deactivationPart, Sort: user}).Set("at", millis(d.At))
	end := store.Update(store.Users, accountKey(user)).Set("x", true).If(store.Exists())
	if erase {
		note, end = note.Set("er", true), end.Set("er", true)
	}
	err := s.transact(ctx, end, note)
	if store.Failed(err) != nil {
		return d, mxerr.NotFound("There is no user %s on this server.", user)
	}
	if err != nil {
		return d, fmt.Errorf("deactivate %s: %w", user, err)
	}
	return d, nil
}

// Deactivations returns what is left to do about accounts that were deactivated.
func (s *Service) Deactivations(ctx context.Context) ([]Deactivation, error) {
	var all []Deactivation
	q := store.Query{Table: store.Server, Part: deactivationPart, Consistency: store.Consistent}
	for it, err := range store.All(ctx, s.opt.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("list deactivations: %w", err)
		}
		all = append(all, Deactivation{UserID: it.Key.Sort, At: time.UnixMilli(it.Int("at")).UTC(), Erase: it.Bool("er")})
	}
	return all, nil
}

// Deactivated says that all is done, unless it was begun anew meanwhile.
func (s *Service) Deactivated(ctx context.Context, d Deactivation) error {
	err := s.write(ctx, store.Delete(store.Server, store.Key{Part: deactivationPart, Sort: d.UserID}).If(store.Equal("at", millis(d.At))))
	if store.Failed(err) != nil {
		return nil
	}
	return err
}

// Erased returns those of the local users who wanted to be erased.
func (s *Service) Erased(ctx context.Context, users []string) (map[string]bool, error) {
	refs := make([]store.Ref, len(users))
	for i, user := range users {
		refs[i] = store.Ref{Table: store.Users, Key: accountKey(user)}
	}
	items, err := store.GetAll(ctx, s.opt.DB, refs, store.Eventual)
	if err != nil {
		return nil, fmt.Errorf("read who is erased: %w", err)
	}
	erased := map[string]bool{}
	for _, it := range items {
		if it.Bool("er") {
			erased[userlog.UserOfPart(it.Key.Part)] = true
		}
	}
	return erased, nil
}

// Erase deletes what is kept for a user besides the account itself and events:
// the profile, presence and account data.
func (s *Service) Erase(ctx context.Context, user string) error {
	err := s.changeProfile(ctx, user, func(p Profile) error {
		clear(p)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.write(ctx, store.Delete(store.Users, userlog.PresenceKey(user))); err != nil {
		return fmt.Errorf("erase presence of %s: %w", user, err)
	}
	for _, prefix := range []string{accountDataPre, accountDataSize} {
		q := store.Query{Table: store.Users, Part: userlog.Part(user), Consistency: store.Consistent}.Prefix(prefix)
		for it, err := range store.All(ctx, s.opt.DB, q) {
			if err != nil {
				return fmt.Errorf("read account data of %s: %w", user, err)
			}
			if err := s.write(ctx, store.Delete(store.Users, it.Key)); err != nil {
				return fmt.Errorf("erase account data of %s: %w", user, err)
			}
		}
	}
	return nil
}
