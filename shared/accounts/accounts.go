// Package accounts is who may do things here: accounts, passwords, devices,
// access and refresh tokens, user-interactive authentication, registration
// tokens, and what a user keeps with the account: profile and account data.
//
// Rows of the users table, under the partition U#user:
//
//   - ACCOUNT: an account, ≤ 1 KB. Put once, if absent; its existence takes the
//     localpart for good. If it were lost, the user id could be registered again.
//   - PROFILE: a Profile, ≤ 65 KB, put together with ACCOUNT and replaced under
//     a version. Its absence means that there is no such user to show.
//   - UD#c / word#user, a partition of its own: see find.go.
//   - DEV#device: a deviceRow, ≤ 1 KB, written by login, logout and renames. It
//     names the one session of the device.
//   - AD#room#type: an AccountData, room empty for global data, ≤ 256 KB and a
//     little. Replaced by its owner only, under a version. If it is rolled back,
//     clients see the old value at the next write or initial sync.
//   - ADSIZE: how many bytes the AD rows have together, changed with them in one
//     transaction. If it is lost, the user can keep as much again.
//
// Rows of the tokens table. Secrets are kept as SHA-256 only, and have 256
// random bits, so that there is nothing to guess offline:
//
//   - S#session / S: a sessionRow, ≤ 1 KB: the tokens of one device. Everything
//     that can happen to them is one conditional write of this row. It also knows
//     when the device was last used, so that noting it needs no other table. Losing it
//     logs the device out for good, so it is read consistently, never cached,
//     and deleted only together with the device or when the device logs in anew.
//   - I#hash / I: an interaction, the state of a user-interactive session, ≤ 1 KB,
//     kept for interactionTTL. Losing it makes a client start the dialogue again.
//   - N#hash / N: a nonce of registration by shared secret, for nonceTTL.
//   - G / hash: a registration token, ≤ 1 KB. They share a partition, being few.
//   - LT#hash / LT: a loginToken, for LoginTokenLifetime or until it is used.
//   - O#hash / O {u}: an OpenID token, for OpenIDLifetime.
//   - F#limit#who / F: how often somebody did what is limited, for the window of
//     the limit. Losing it gives a guesser a few more guesses.
//
// Rows of the server table:
//
//   - DEACTIVATING / user {at, er}: an account that was deactivated, in the
//     transaction that does it, until FinishDeactivations of shared/rooms has
//     logged it out, taken it out of its rooms and, with er, erased it. If it were
//     lost, the account could stay in rooms as one that nobody uses.
package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// The values of Options.Registration.
const (
	RegistrationClosed = "closed"
	RegistrationToken  = "token"
	RegistrationOpen   = "open"
)

// Options are what the service is made of. DB, Log and ServerName are required.
type Options struct {
	DB    store.DB
	Clock clock.Clock // nil is clock.System
	Rand  io.Reader   // nil is crypto/rand; safe for concurrent use
	Log   *userlog.Service
	// ServerName is the part of all user ids after the colon.
	ServerName string
	// Registration says who may make an account: nobody (RegistrationClosed, the
	// default), who has a registration token, or everybody.
	Registration string
	// SharedSecret allows registration through the admin API; empty turns it off.
	SharedSecret string
	// PasswordCost is "min" in tests and empty otherwise.
	PasswordCost string
	// AccessLifetime is how long an access token lives whose client can refresh
	// it; zero is DefaultAccessLifetime. Others do not expire.
	AccessLifetime time.Duration
	// NoLimits turns off the limits that are counted in the store.
	NoLimits bool
}

// DefaultAccessLifetime is the lifetime of access tokens that can be refreshed.
const DefaultAccessLifetime = time.Hour

// Service is the accounts domain. It is safe for concurrent use.
type Service struct {
	opt    Options
	cost   cost
	hashes chan struct{} // a slot for each password that is hashed now
}

// New returns the service.
func New(opt Options) *Service {
	if opt.Clock == nil {
		opt.Clock = clock.System{}
	}
	if opt.Rand == nil {
		opt.Rand = rand.Reader
	}
	if opt.AccessLifetime == 0 {
		opt.AccessLifetime = DefaultAccessLifetime
	}
	s := &Service{opt: opt, cost: defaultCost, hashes: make(chan struct{}, maxHashes)}
	if opt.PasswordCost == "min" {
		s.cost = minCost
	}
	return s
}

// What the operations use. They are few, since every distinct set is a role.
var (
	// Authenticates is for Authenticate and Refresh. The former writes when
	// tokens are used for the first time after a refresh.
	Authenticates = grant.Of(grant.ReadTable("tokens"), grant.WriteTable("tokens"))
	// Registers is for registering, with or without a shared secret, and for
	// registration tokens.
	Registers = grant.Of(Authenticates, grant.ReadTable("users"), grant.WriteTable("users"))
	// ManagesSessions is the same set, for those who set a server up.
	ManagesSessions = Registers
	// Confirms is for Confirm.
	Confirms = grant.Of(Authenticates, grant.ReadTable("users"))
	// LogsIn is for logging in, and for deleting devices.
	LogsIn = grant.Of(grant.WriteTable("tokens"), grant.ReadTable("users"), grant.WriteTable("users"))
	// LogsOut is for Logout.
	LogsOut = grant.Of(grant.WriteTable("tokens"), grant.WriteTable("users"))
	// MakesNonces is for RegistrationNonce and OpenIDToken, and ChecksTokens for the validity of
	// registration tokens.
	MakesNonces  = grant.WriteTable("tokens")
	ChecksTokens = grant.ReadTable("tokens")
	// ReadsDevices is for Device and Devices, and for OpenIDUser.
	ReadsDevices = grant.Of(ChecksTokens, grant.ReadTable("users"))
	// NamesDevices is for SetDeviceName too.
	NamesDevices = grant.Of(ReadsDevices, grant.WriteTable("users"))
	// Moderates is for SetLocked and SetSuspended, and Judges for Locked and
	// Suspended.
	Moderates = LogsIn
	Judges    = Reads
	// Reads is for reading accounts, profiles and account data.
	Reads = grant.ReadTable("users")
	// Writes is for changing profiles, device names and account data.
	Writes = grant.Of(Reads, grant.WriteTable("users"), userlog.Appends)
)

// account is the ACCOUNT row.
type account struct {
	Password    string `db:"pw,omitempty"` // PHC string; empty if none can log in with
	Admin       bool   `db:"a,omitempty"`
	UserType    string `db:"ut,omitempty"`
	Created     int64  `db:"c"` // milliseconds
	Deactivated bool   `db:"x,omitempty"`
	// Erased says that who was not there when the user wrote is not shown it.
	Erased bool `db:"er,omitempty"`
	// Locked and Suspended are as an administrator set them last, and Standing
	// counts how often that was, or Admin was changed.
	Locked    bool  `db:"lk,omitempty"`
	Suspended bool  `db:"su,omitempty"`
	Standing  int64 `db:"sg,omitempty"`
}

func accountKey(user string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: "ACCOUNT"}
}

// IsAccount reports whether the key is that of an account.
func IsAccount(k store.Key) bool { return k == accountKey(userlog.UserOfPart(k.Part)) }

// account returns the account of a local user; ok is false if there is none.
func (s *Service) account(ctx context.Context, user string) (a account, ok bool, err error) {
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Users, Key: accountKey(user)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return account{}, false, nil
	}
	if err != nil {
		return account{}, false, fmt.Errorf("load account of %s: %w", user, err)
	}
	return a, true, store.Decode(it, &a)
}

// Exists reports whether the user has an account here, deactivated ones
// included.
func (s *Service) Exists(ctx context.Context, user string) (bool, error) {
	_, ok, err := s.account(ctx, user)
	return ok, err
}

// IsLocal reports whether a user id belongs to this server.
func (s *Service) IsLocal(user string) bool { return id.Server(user) == s.opt.ServerName }

// maxTries bounds how often a transaction is tried while others are in its way.
const maxTries = 8

// transact and write are those of store.DB, tried again while nothing was written
// because a transaction was in the way or the store is busy.
func (s *Service) transact(ctx context.Context, ws ...store.Write) error {
	return s.again(ctx, func() error { return s.opt.DB.Transact(ctx, ws...) })
}

func (s *Service) write(ctx context.Context, w store.Write) error {
	return s.again(ctx, func() error {
		_, err := s.opt.DB.Write(ctx, w)
		return err
	})
}

func (s *Service) again(ctx context.Context, f func() error) error {
	pause := 10 * time.Millisecond
	for try := 1; ; try++ {
		err := f()
		if try == maxTries || !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrThrottled) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.opt.Clock.After(pause/2 + mathrand.N(pause)): // not all at once again
			pause *= 2
		}
	}
}
