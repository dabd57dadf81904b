package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// LoginTokenLifetime is how long a login token is good.
const LoginTokenLifetime = 2 * time.Minute

const loginTokenPrefix = "vlt_"

// loginTokens is by user: each lets one more device in.
var loginTokens = limit{"get_token", 5, 5 * time.Minute}

// loginToken is the LT row.
type loginToken struct {
	UserID string `db:"u"`
	// Password is a digest of the hash of the password that the account had: who
	// changes it because somebody else knows it lets nobody in any more.
	Password string `db:"pw"`
}

func loginTokenKey(token string) store.Key {
	return store.Key{Part: "LT#" + hashKey(token), Sort: "LT"}
}

// LoginToken returns a token by which one device of the user can log in.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
func (s *Service) LoginToken(ctx context.Context, user string) (string, error) {
	if err := s.count(ctx, loginTokens, user); err != nil {
		return "", err
	}
	a, _, err := s.account(ctx, user)
	if err != nil {
		return "", err
	}
	n, err := s.newSecret()
	if err != nil {
		return "", err
	}
	token := loginTokenPrefix + n.String()
	row := loginToken{UserID: user, Password: hashKey(a.Password)}
	err = s.write(ctx, store.Put(store.Tokens, loginTokenKey(token), store.Encode(row)).
		Until(s.opt.Clock.Now().Add(LoginTokenLifetime)).If(store.NotExists()))
	if err != nil {
		return "", fmt.Errorf("write login token of %s: %w", user, err)
	}
	return token, nil
}

// LoginWithToken logs a device in, and uses the token up in the same transaction.
// It is M_FORBIDDEN if the token is unknown, used or expired.
//
// https://spec.matrix.org/v1.19/client-server-api/#token-based-user-login
func (s *Service) LoginWithToken(ctx context.Context, token string, device DeviceRequest) (Credentials, error) {
	if err := device.check(); err != nil {
		return Credentials{}, err
	}
	if token == "" {
		return Credentials{}, mxerr.MissingParam("The login token is missing.")
	}
	for range maxTries {
		row, err := s.loginToken(ctx, token)
		if err != nil {
			return Credentials{}, err
		}
		a, _, err := s.account(ctx, row.UserID)
		switch {
		case err != nil:
			return Credentials{}, err
		case a.Deactivated:
			return Credentials{}, deactivated()
		case a.Locked:
			return Credentials{}, mxerr.UserLocked()
		case hashKey(a.Password) != row.Password:
			return Credentials{}, wrongLoginToken()
		}
		use := store.Delete(store.Tokens, loginTokenKey(token)).If(store.Exists())
		// An account that changed meanwhile is looked at again.
		if c, err := s.logIn(ctx, row.UserID, a, device, use, a.unchanged(row.UserID)); !errors.Is(err, errChanged) {
			return c, err
		}
	}
	return Credentials{}, errChanged
}

// wrongLoginToken does not tell whether there ever was such a token.
func wrongLoginToken() *mxerr.Error {
	return mxerr.Forbidden("This login token is unknown, was used, or has expired.")
}

func (s *Service) loginToken(ctx context.Context, token string) (row loginToken, err error) {
	if !strings.HasPrefix(token, loginTokenPrefix) {
		return row, wrongLoginToken()
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: loginTokenKey(token)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) || err == nil && !s.opt.Clock.Now().Before(it.Expires) {
		return row, wrongLoginToken()
	}
	if err != nil {
		return row, fmt.Errorf("load login token: %w", err)
	}
	return row, store.Decode(it, &row)
}
