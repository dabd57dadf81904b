package accounts

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// maxRegistrationToken is the longest registration token.
const maxRegistrationToken = 64

// invitation is the row of a registration token. A use is counted in the
// transaction that makes the account, and at no other time: there is nothing
// pending that an abandoned dialogue would have to give back.
type invitation struct {
	// Left is how many accounts it is still good for; unlimited without.
	Limited bool  `db:"lim,omitempty"`
	Left    int64 `db:"left,omitempty"`
	Used    int64 `db:"used"`
	Until   int64 `db:"until"` // milliseconds, zero for ever
	Created int64 `db:"c"`
}

func invitationKey(hash string) store.Key { return store.Key{Part: "G", Sort: hash} }

// EnsureRegistrationToken makes a registration token, unless there is one with
// this text already, which is left as it is. uses is how many accounts it is good
// for, zero for any number; a zero until means for ever.
//
// https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
func (s *Service) EnsureRegistrationToken(ctx context.Context, token string, uses int64, until time.Time) error {
	if !id.ValidOpaque(token) || len(token) > maxRegistrationToken {
		return mxerr.InvalidParam("A registration token has 1 to %d characters of 0-9, A-Z, a-z, '-', '.', '_' and '~'.", maxRegistrationToken)
	}
	row := invitation{Limited: uses > 0, Left: uses, Until: millis(until), Created: millis(s.opt.Clock.Now())}
	w := store.Put(store.Tokens, invitationKey(hashKey(token)), store.Encode(row)).If(store.NotExists())
	if err := s.write(ctx, w); err != nil && store.Failed(err) == nil {
		return fmt.Errorf("write registration token: %w", err)
	}
	return nil
}

// NewRegistrationToken makes a registration token that nobody can guess; see
// EnsureRegistrationToken.
func (s *Service) NewRegistrationToken(ctx context.Context, uses int64, until time.Time) (string, error) {
	var b [15]byte
	if err := s.random(b[:]); err != nil {
		return "", err
	}
	// People read it to each other: small letters and digits, in groups of four.
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	var groups []string
	for group := range slices.Chunk([]byte(text), 4) {
		groups = append(groups, string(group))
	}
	token := strings.Join(groups, "-")
	return token, s.EnsureRegistrationToken(ctx, token, uses, until)
}

// RevokeRegistrationToken ends a registration token; accounts that were made with it
// stay. It is M_NOT_FOUND if there is none with this text.
func (s *Service) RevokeRegistrationToken(ctx context.Context, token string) error {
	err := s.write(ctx, store.Delete(store.Tokens, invitationKey(hashKey(token))).If(store.Exists()))
	if store.Failed(err) != nil {
		return mxerr.NotFound("There is no such registration token.")
	}
	return err
}

// RegistrationTokenValid reports whether an account could be registered with the
// token now. It is M_FORBIDDEN where nobody can register.
func (s *Service) RegistrationTokenValid(ctx context.Context, token string) (bool, error) {
	if err := s.registrationAllowed(); err != nil {
		return false, err
	}
	row, ok, err := s.invitation(ctx, hashKey(token))
	if err != nil || !ok {
		return false, err
	}
	return (!row.Limited || row.Left > 0) && unexpired(row.Until, millis(s.opt.Clock.Now())), nil
}

func (s *Service) invitation(ctx context.Context, hash string) (row invitation, ok bool, err error) {
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: invitationKey(hash)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("load registration token: %w", err)
	}
	return row, true, store.Decode(it, &row)
}

// useInvitation returns the write that uses a registration token once, and fails
// if it is not good any more.
func (s *Service) useInvitation(ctx context.Context, hash string) (store.Write, error) {
	row, _, err := s.invitation(ctx, hash)
	if err != nil {
		return store.Write{}, err
	}
	w := store.Update(store.Tokens, invitationKey(hash)).Add("used", 1).
		If(store.AnyOf(store.Equal("until", int64(0)), store.Greater("until", millis(s.opt.Clock.Now()))))
	if !row.Limited {
		return w.If(store.Absent("lim")), nil
	}
	return w.Add("left", -1).If(store.Greater("left", int64(0))), nil
}
