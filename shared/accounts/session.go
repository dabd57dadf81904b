package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// Session is what an access token stands for.
type Session struct {
	UserID   string
	DeviceID string
	// Admin users may call /_synapse/admin.
	Admin bool
	// Guest users may call few routes.
	Guest bool
	// Locked users may only log out, and suspended ones do what routes declare.
	Locked, Suspended bool

	name string // of the sessionRow
	seen int64  // when it was noted that the session is used, in milliseconds
}

// Name tells the session from others, also from later ones of the same device.
func (c Session) Name() string { return c.name }

// sessionRow is the S row: the tokens of a device. Times are milliseconds, and
// zero means never.
//
// A refresh does not replace the current tokens; it issues the next ones, which
// become current when one of them is used. Until then the refresh token that
// made them is good, and makes the same ones again.
//
// https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
type sessionRow struct {
	Version  int64  `db:"v"` // changes with every write
	UserID   string `db:"u"`
	DeviceID string `db:"d"`

	// Admin, Locked, Suspended and Standing are those of the account: copied at login,
	// and by whoever changes them, unless the copy is of a later Standing.
	Admin     bool  `db:"a,omitempty"`
	Locked    bool  `db:"lk,omitempty"`
	Suspended bool  `db:"su,omitempty"`
	Standing  int64 `db:"sg,omitempty"`

	// The current tokens, and the access token before, which is good until it
	// expires: requests that are under way when a client refreshes must not fail.
	Access      []byte `db:"ah"`
	AccessUntil int64  `db:"ax,omitempty"`
	Refresh     []byte `db:"rh,omitempty"`
	Before      []byte `db:"oh,omitempty"`
	BeforeUntil int64  `db:"ox,omitempty"`

	// The next tokens, not used yet, and the salt that makes them from the
	// current refresh token.
	Salt            []byte `db:"ns,omitempty"`
	NextAccess      []byte `db:"nh,omitempty"`
	NextAccessUntil int64  `db:"nx,omitempty"`
	NextRefresh     []byte `db:"nr,omitempty"`

	// When, from where and with what the session was used, written by Saw.
	Seen      int64  `db:"ls,omitempty"`
	IP        string `db:"ip,omitempty"`
	UserAgent string `db:"ua,omitempty"`
}

func sessionKey(name string) store.Key { return store.Key{Part: "S#" + name, Sort: "S"} }

// Authenticate returns the session of an access token, or M_UNKNOWN_TOKEN. Any
// other error means that it is not known whether the token is good.
func (s *Service) Authenticate(ctx context.Context, accessToken string) (Session, error) {
	t, ok := parseToken(accessPrefix, accessToken)
	if !ok {
		return Session{}, mxerr.UnknownToken(false, "This access token is not one of this server's.")
	}
	it, err := s.readSession(ctx, t.session)
	for {
		if err != nil {
			return Session{}, err
		}
		if !it.Exists() {
			return Session{}, mxerr.UnknownToken(false, "This session was logged out.")
		}
		var row sessionRow
		if err := store.Decode(it, &row); err != nil {
			return Session{}, err
		}
		h, now := t.hash(), millis(s.opt.Clock.Now())
		current := same(h, row.Access) && unexpired(row.AccessUntil, now) ||
			same(h, row.Before) && unexpired(row.BeforeUntil, now)
		next := same(h, row.NextAccess) && unexpired(row.NextAccessUntil, now)
		if !current && !next {
			// The session is there, so the token was good once.
			return Session{}, mxerr.UnknownToken(true, "This access token has expired; refresh it or log in again.")
		}
		if next {
			var done bool
			if done, it, err = s.replaceSession(ctx, t.session, row, row.used()); !done {
				continue
			}
		}
		return Session{
			UserID: row.UserID, DeviceID: row.DeviceID, Admin: row.Admin, Locked: row.Locked, Suspended: row.Suspended,
			name: t.session, seen: row.Seen,
		}, nil
	}
}

func unexpired(until, now int64) bool { return until == 0 || now < until }

// Refresh answers a refresh token with new tokens. Until one of them is used, it
// answers the same refresh token with the same tokens.
func (s *Service) Refresh(ctx context.Context, refreshToken string) (Credentials, error) {
	t, ok := parseToken(refreshPrefix, refreshToken)
	if !ok {
		return Credentials{}, mxerr.UnknownToken(false, "This refresh token is not one of this server's.")
	}
	it, err := s.readSession(ctx, t.session)
	for {
		if err != nil {
			return Credentials{}, err
		}
		if !it.Exists() {
			return Credentials{}, mxerr.UnknownToken(false, "This session was logged out.")
		}
		var row sessionRow
		if err := store.Decode(it, &row); err != nil {
			return Credentials{}, err
		}
		next := row
		switch h := t.hash(); {
		case same(h, row.NextRefresh):
			next = row.used()
		case !same(h, row.Refresh):
			return Credentials{}, mxerr.UnknownToken(true, "This refresh token was used before; log in again.")
		}
		if row.Locked {
			return Credentials{}, mxerr.UserLocked()
		}
		now := s.opt.Clock.Now()
		if len(next.Salt) == 0 || !unexpired(next.NextAccessUntil, millis(now)) {
			salt, err := s.newSecret()
			if err != nil {
				return Credentials{}, err
			}
			next.issue(t, salt[:], now.Add(s.opt.AccessLifetime))
			var done bool
			if done, it, err = s.replaceSession(ctx, t.session, row, next); !done {
				if err != nil {
					return Credentials{}, err
				}
				continue
			}
		}
		access, refresh := t.next(next.Salt)
		return Credentials{
			UserID: row.UserID, DeviceID: row.DeviceID, AccessToken: access.String(), RefreshToken: refresh.String(),
			ExpiresInMS: next.NextAccessUntil - millis(now),
		}, nil
	}
}

// next returns the tokens that the refresh token makes with the salt.
func (t token) next(salt []byte) (access, refresh token) {
	return token{accessPrefix, t.session, t.secret.derive(salt, "access")},
		token{refreshPrefix, t.session, t.secret.derive(salt, "refresh")}
}

// issue sets the next tokens to those that the refresh token makes.
func (r *sessionRow) issue(t token, salt []byte, until time.Time) {
	access, refresh := t.next(salt)
	r.Salt, r.NextAccess, r.NextAccessUntil, r.NextRefresh = salt, access.hash(), millis(until), refresh.hash()
}

// used returns the row after one of the next tokens was used: they are the
// current ones, and the refresh token that made them is worth nothing.
func (r sessionRow) used() sessionRow {
	r.Before, r.BeforeUntil = r.Access, r.AccessUntil
	r.Access, r.AccessUntil, r.Refresh = r.NextAccess, r.NextAccessUntil, r.NextRefresh
	r.Salt, r.NextAccess, r.NextAccessUntil, r.NextRefresh = nil, nil, 0, nil
	return r
}

// readSession returns the row of a session, not existing if there is none.
func (s *Service) readSession(ctx context.Context, name string) (store.Item, error) {
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: sessionKey(name)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return store.Item{}, nil
	}
	if err != nil {
		return store.Item{}, fmt.Errorf("load session %s: %w", name, err)
	}
	return it, nil
}

// replaceSession writes the row if it is still as it was read; if not, it
// returns the row as it is.
func (s *Service) replaceSession(ctx context.Context, name string, was, row sessionRow) (bool, store.Item, error) {
	row.Version = was.Version + 1
	err := s.write(ctx, store.Put(store.Tokens, sessionKey(name), store.Encode(row)).If(store.Equal("v", was.Version)))
	if f := store.Failed(err); f != nil {
		return false, f.Failed[0], nil
	}
	if err != nil {
		return false, store.Item{}, fmt.Errorf("write session %s: %w", name, err)
	}
	return true, store.Item{}, nil
}
