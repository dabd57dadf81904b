package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// OpenIDLifetime is how long an OpenID token is good.
const OpenIDLifetime = time.Hour

const openIDPrefix = "vot_"

func openIDKey(token string) store.Key { return store.Key{Part: "O#" + hashKey(token), Sort: "O"} }

// OpenIDToken returns a token by which another service can learn who the user is,
// and nothing else.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
func (s *Service) OpenIDToken(ctx context.Context, user string) (string, error) {
	n, err := s.newSecret()
	if err != nil {
		return "", err
	}
	token, until := openIDPrefix+n.String(), s.opt.Clock.Now().Add(OpenIDLifetime)
	err = s.write(ctx, store.Put(store.Tokens, openIDKey(token), store.Attrs{"u": user}).Until(until).If(store.NotExists()))
	if err != nil {
		return "", fmt.Errorf("write OpenID token of %s: %w", user, err)
	}
	return token, nil
}

// OpenIDUser returns whose OpenID token it is, or M_UNKNOWN_TOKEN. The tokens of
// an account that was deactivated tell nothing any more, nor while it is locked.
func (s *Service) OpenIDUser(ctx context.Context, token string) (string, error) {
	unknown := mxerr.New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "This OpenID token is unknown or has expired.")
	if !strings.HasPrefix(token, openIDPrefix) {
		return "", unknown
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: openIDKey(token)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return "", unknown
	}
	if err != nil {
		return "", fmt.Errorf("load OpenID token: %w", err)
	}
	if !s.opt.Clock.Now().Before(it.Expires) {
		return "", unknown
	}
	user := it.Str("u")
	a, ok, err := s.account(ctx, user)
	if err != nil {
		return "", err
	}
	if !ok || a.Deactivated || a.Locked {
		return "", unknown
	}
	return user, nil
}
