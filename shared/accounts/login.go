package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// Credentials is what a client gets when it registers, logs in or refreshes.
type Credentials struct {
	UserID       string `json:"user_id,omitempty"`
	DeviceID     string `json:"device_id,omitempty"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	// ExpiresInMS is zero for access tokens that do not expire.
	ExpiresInMS int64 `json:"expires_in_ms,omitempty"`
}

// Identifier is a user identifier object. Third-party identifiers are not bound
// to accounts yet, so none of them is known.
//
// https://spec.matrix.org/v1.19/client-server-api/#identifier-types
type Identifier struct {
	Type    string `json:"type"`
	User    string `json:"user"`
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// Login is a request to log in with a password.
type Login struct {
	Identifier *Identifier
	User       string // where old clients put the user
	Password   string
	Device     DeviceRequest
}

// DeviceRequest is what a client that registers or logs in says of its device.
type DeviceRequest struct {
	// DeviceID names a device to log in again; empty for a new one.
	DeviceID string
	// DisplayName is for a new device.
	DisplayName string
	// Refresh says that the client can refresh its access token.
	Refresh bool
}

// LoginWithPassword checks the password and logs a device in. A device that was
// logged in before loses its former tokens.
func (s *Service) LoginWithPassword(ctx context.Context, req Login) (Credentials, error) {
	user, err := s.identify(req.Identifier, req.User)
	if err != nil {
		return Credentials{}, err
	}
	if err := req.Device.check(); err != nil {
		return Credentials{}, err
	}
	for range maxTries {
		a, err := s.checkLogin(ctx, user, req.Password)
		if err != nil {
			return Credentials{}, err
		}
		w, err := s.confirmLogin(ctx, user, a, req.Password)
		if err != nil {
			return Credentials{}, err
		}
		// An account that changed meanwhile is looked at again.
		if c, err := s.logIn(ctx, user, a, req.Device, w); !errors.Is(err, errChanged) {
			return c, err
		}
	}
	return Credentials{}, errChanged
}

var errChanged = errors.New("log in: the account changes all the time")

// confirmLogin returns the write that fails unless the account still has the
// password that was checked, and the standing that the session gets, when the
// device is logged in.
func (s *Service) confirmLogin(ctx context.Context, user string, a account, password string) (store.Write, error) {
	if !foreign(a.Password) {
		return a.unchanged(user), nil
	}
	// This is the moment to keep it as we do.
	phc, err := s.hashPassword(ctx, password)
	return store.Update(store.Users, accountKey(user)).Set("pw", phc).If(a.same()), err
}

// unchanged returns the write that fails if same does not hold.
func (a account) unchanged(user string) store.Write {
	return store.Check(store.Users, accountKey(user), a.same())
}

// same holds while the account has the password and the standing that it had.
func (a account) same() store.Cond {
	password := store.Equal("pw", a.Password)
	if a.Password == "" {
		password = store.Absent("pw")
	}
	return slices.Concat(password, store.Absent("x"), a.stands())
}

// identify returns the user id that an identifier names, existing or not.
func (s *Service) identify(i *Identifier, user string) (string, error) {
	if i != nil {
		switch i.Type {
		case "m.id.user":
			user = i.User
		case "m.id.thirdparty", "m.id.phone":
			return "", wrongLogin()
		case "":
			return "", mxerr.MissingParam("The identifier has no type.")
		default:
			return "", mxerr.Unknown("The identifier type %q is not known here.", i.Type)
		}
	}
	switch {
	case user == "":
		return "", mxerr.MissingParam("It is not said which user this is about; the key \"identifier\" is missing.")
	case user[0] != '@':
		return id.User(strings.ToLower(user), s.opt.ServerName), nil
	case id.Server(user) != s.opt.ServerName:
		return "", mxerr.Forbidden("%s is not a user of %s.", user, s.opt.ServerName)
	}
	return id.User(strings.ToLower(id.Localpart(user)), s.opt.ServerName), nil
}

// wrongLogin does not tell whether the user exists.
func wrongLogin() *mxerr.Error { return mxerr.Forbidden("The user name or the password is wrong.") }

// checkLogin returns the account if the password is right. It takes as long
// where there is no such user, and counts failures.
func (s *Service) checkLogin(ctx context.Context, user, password string) (account, error) {
	if password == "" {
		return account{}, mxerr.MissingParam("The password is missing.")
	}
	if len(password) > maxPassword || !id.ValidUser(user) {
		return account{}, wrongLogin()
	}
	if err := s.count(ctx, loginFailures, user); err != nil {
		return account{}, err
	}
	a, _, err := s.account(ctx, user)
	if err != nil {
		return account{}, err
	}
	right, err := s.checkPassword(ctx, a.Password, password)
	switch {
	case err != nil:
		return account{}, fmt.Errorf("check password of %s: %w", user, err)
	case !right:
		return account{}, wrongLogin()
	case a.Deactivated:
		return account{}, deactivated()
	case a.Locked:
		return account{}, mxerr.UserLocked()
	}
	return a, s.forget(ctx, loginFailures, user)
}

// tokens are the first tokens of a session.
type tokens struct {
	session string
	access  secret
	refresh *secret // nil for clients that cannot refresh
	until   int64
}

func (s *Service) newTokens(refresh bool, now time.Time) (t tokens, err error) {
	if t.session, err = s.newID(); err != nil {
		return t, err
	}
	if t.access, err = s.newSecret(); err != nil || !refresh {
		return t, err
	}
	r, err := s.newSecret()
	t.refresh, t.until = &r, millis(now.Add(s.opt.AccessLifetime))
	return t, err
}

// put writes the row of the session.
func (t tokens) put(user, device string, a account) store.Write {
	row := sessionRow{
		Version: 1, UserID: user, DeviceID: device, Admin: a.Admin, Locked: a.Locked, Suspended: a.Suspended, Standing: a.Standing,
		Access: token{accessPrefix, t.session, t.access}.hash(), AccessUntil: t.until,
	}
	if t.refresh != nil {
		row.Refresh = token{refreshPrefix, t.session, *t.refresh}.hash()
	}
	return store.Put(store.Tokens, sessionKey(t.session), store.Encode(row)).If(store.NotExists())
}

func (t tokens) credentials(user, device string, now time.Time) Credentials {
	c := Credentials{UserID: user, DeviceID: device, AccessToken: token{accessPrefix, t.session, t.access}.String()}
	if t.refresh != nil {
		c.RefreshToken = token{refreshPrefix, t.session, *t.refresh}.String()
		c.ExpiresInMS = max(1, t.until-millis(now))
	}
	return c
}

// logIn gives a device new tokens, in one transaction with the further writes:
// the device's former session ends as the new one begins. Of two that log the
// same device in at once, the later keeps it.
func (s *Service) logIn(ctx context.Context, user string, a account, req DeviceRequest, with ...store.Write) (Credentials, error) {
	if req.DeviceID == "" {
		var err error
		if req.DeviceID, err = s.newID(); err != nil {
			return Credentials{}, err
		}
	}
	now := s.opt.Clock.Now()
	t, err := s.newTokens(req.Refresh, now)
	if err != nil {
		return Credentials{}, err
	}
	for range maxTries {
		was, known, err := s.device(ctx, user, req.DeviceID)
		if err != nil {
			return Credentials{}, err
		}
		row := deviceRow{Name: req.DisplayName, Created: millis(now), Session: t.session, LastSeen: millis(now)}
		if known {
			row.Name, row.Created = was.Name, was.Created
		}
		ws := append(with[:len(with):len(with)], t.put(user, req.DeviceID, a), row.put(user, req.DeviceID, was.Session))
		if known {
			ws = append(ws, store.Delete(store.Tokens, sessionKey(was.Session)))
		}
		err = s.transact(ctx, ws...)
		f := store.Failed(err)
		switch {
		case err == nil:
			return t.credentials(user, req.DeviceID, now), nil
		case f == nil:
			return Credentials{}, fmt.Errorf("log in %s: %w", user, err)
		}
		for i := range with {
			if _, failed := f.Failed[i]; failed {
				return Credentials{}, errChanged
			}
		}
	}
	return Credentials{}, errors.New("log in: too many others log the device in")
}
