package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// nonceTTL is how long a nonce of registration by shared secret is good.
const nonceTTL = time.Minute

// SharedSecretRegistration is a request that proves by MAC to come from somebody
// who knows the shared secret.
type SharedSecretRegistration struct {
	Registration
	Nonce       string
	Admin       bool
	UserType    string
	DisplayName *string
	// MAC is the hexadecimal HMAC-SHA1 of nonce, user name, password, "admin" or
	// "notadmin", and the user type if there is one, joined by NUL.
	MAC string
}

func (s *Service) sharedSecretAllowed() error {
	if s.opt.SharedSecret == "" {
		return mxerr.Unknown("Registration by shared secret is not configured on this server.")
	}
	return nil
}

func nonceKey(nonce string) store.Key { return store.Key{Part: "N#" + hashKey(nonce), Sort: "N"} }

// RegistrationNonce returns a nonce that is good for one registration by shared
// secret.
func (s *Service) RegistrationNonce(ctx context.Context) (string, error) {
	if err := s.sharedSecretAllowed(); err != nil {
		return "", err
	}
	n, err := s.newSecret()
	if err != nil {
		return "", err
	}
	nonce := hex.EncodeToString(n[:])
	until := s.opt.Clock.Now().Add(nonceTTL)
	w := store.Put(store.Tokens, nonceKey(nonce), store.Attrs{"until": millis(until)}).Until(until).If(store.NotExists())
	err = s.write(ctx, w)
	return nonce, err
}

// RegisterBySharedSecret makes an account and logs a device in. The nonce is used
// up in the transaction that makes the account, so a request that dies on the way
// has done nothing.
func (s *Service) RegisterBySharedSecret(ctx context.Context, req SharedSecretRegistration) (Credentials, error) {
	if err := s.sharedSecretAllowed(); err != nil {
		return Credentials{}, err
	}
	if err := s.checkNonce(ctx, req.Nonce); err != nil {
		return Credentials{}, err
	}
	if strings.Contains(req.Username, "\x00") || strings.Contains(req.Password, "\x00") {
		return Credentials{}, mxerr.InvalidParam("User name and password may not contain NUL.")
	}
	if !req.authentic(s.opt.SharedSecret) {
		return Credentials{}, mxerr.Forbidden("HMAC incorrect")
	}
	switch {
	case req.UserType != "" && req.UserType != "support" && req.UserType != "bot":
		return Credentials{}, mxerr.InvalidParam("The user type %q is not known; there are \"support\" and \"bot\".", req.UserType)
	case req.Username == "":
		return Credentials{}, invalidUsername("The user name is empty.")
	}
	user, err := s.available(ctx, req.Username)
	if err != nil {
		return Credentials{}, err
	}
	if err := req.Device.check(); err != nil {
		return Credentials{}, err
	}
	n, err := s.newNamedAccount(ctx, user, req.Registration, account{Admin: req.Admin, UserType: req.UserType}, req.DisplayName)
	if err != nil {
		return Credentials{}, err
	}
	nonce := len(n.writes)
	err = s.transact(ctx, append(n.writes, store.Delete(store.Tokens, nonceKey(req.Nonce)).If(store.Exists()))...)
	if f := store.Failed(err); f != nil {
		if _, taken := f.Failed[accountWrite]; taken {
			return Credentials{}, userInUse()
		}
		if _, used := f.Failed[nonce]; used {
			return Credentials{}, unrecognisedNonce()
		}
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("register %s by shared secret: %w", user, err)
	}
	return n.credentials(s), nil
}

// newNamedAccount prepares an account with a display name, which is the localpart if
// nothing else is said.
func (s *Service) newNamedAccount(ctx context.Context, user string, req Registration, a account, displayName *string) (newAccount, error) {
	n, err := s.newAccount(ctx, user, req, a)
	if err != nil {
		return n, err
	}
	name := id.Localpart(user)
	if displayName != nil {
		name = *displayName
	}
	if n.writes[profileWrite], err = newProfile(user, name); err != nil {
		return n, err
	}
	n.writes = append(n.writes, renames(user, names(user, nil), append(names(user, nil), words(name)...))...)
	return n, nil
}

func unrecognisedNonce() *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "unrecognised nonce")
}

func (s *Service) checkNonce(ctx context.Context, nonce string) error {
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: nonceKey(nonce)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return unrecognisedNonce()
	}
	if err != nil {
		return fmt.Errorf("load nonce: %w", err)
	}
	if it.Int("until") <= millis(s.opt.Clock.Now()) {
		return unrecognisedNonce()
	}
	return nil
}

// authentic compares the MAC in constant time.
func (r SharedSecretRegistration) authentic(sharedSecret string) bool {
	role := "notadmin"
	if r.Admin {
		role = "admin"
	}
	parts := []string{r.Nonce, r.Username, r.Password, role}
	if r.UserType != "" {
		parts = append(parts, r.UserType)
	}
	m := hmac.New(sha1.New, []byte(sharedSecret))
	m.Write([]byte(strings.Join(parts, "\x00")))
	given, err := hex.DecodeString(r.MAC)
	return err == nil && hmac.Equal(given, m.Sum(nil))
}
