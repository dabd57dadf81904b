package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// Registration is a request for an account.
type Registration struct {
	// Username is the localpart that is asked for; empty for any.
	Username string
	Password string
	// InhibitLogin makes an account without logging a device in.
	InhibitLogin bool
	Device       DeviceRequest
	// Address is where the request comes from, for the limit; empty for none.
	Address string `json:"-"`
}

// registered is how an interactive session ended in an account. It answers the
// same request again with the same tokens, which only the client's session id
// can make.
type registered struct {
	// Request is a digest of the request under the secret of the session.
	Request  []byte `json:"rq"`
	UserID   string `json:"u"`
	DeviceID string `json:"d,omitempty"`
	Session  string `json:"s,omitempty"`
	Salt     []byte `json:"sa,omitempty"`
	Until    int64  `json:"x,omitempty"`
	Refresh  bool   `json:"r,omitempty"`
}

// registers is the operation of interactive sessions of Register.
func (s *Service) registers() Operation {
	stage := StageDummy
	if s.opt.Registration == RegistrationToken {
		stage = StageRegistrationToken
	}
	return Operation{Name: "register", Flows: [][]string{{stage}}}
}

func (s *Service) registrationAllowed() error {
	if s.opt.Registration != RegistrationOpen && s.opt.Registration != RegistrationToken {
		return mxerr.Forbidden("Registration is closed on this server; ask its administrator for an account.")
	}
	return nil
}

// Register makes an account for whoever completes the authentication, and logs a
// device in. Everything is written in one transaction: the account, its profile,
// the device, the tokens, the use of a registration token, and the end of the
// interactive session. The session makes one account: the same request again is
// answered the same, and another one is refused.
func (s *Service) Register(ctx context.Context, req Registration, auth *AuthData) (Credentials, error) {
	if err := s.registrationAllowed(); err != nil {
		return Credentials{}, err
	}
	counted := req.Address == ""
	for range maxTries {
		op := s.registers()
		p, err := s.resume(ctx, op, auth)
		if err != nil {
			return Credentials{}, err
		}
		if p.Done != nil {
			return s.answerAgain(p, req)
		}
		user, err := s.available(ctx, req.Username)
		if err != nil && p.id != "" {
			// The name may have been taken by this very request, sent twice.
			if again, resumeErr := s.resume(ctx, op, auth); resumeErr == nil && again.Done != nil {
				return s.answerAgain(again, req)
			}
		}
		if err != nil {
			return Credentials{}, err
		}
		if err := req.Device.check(); err != nil {
			return Credentials{}, err
		}
		switch err := s.advance(ctx, op, &p, auth); {
		case errors.Is(err, errRaced):
			continue
		case err != nil:
			return Credentials{}, err
		}
		if !counted {
			if err := s.count(ctx, registrations, req.Address); err != nil {
				return Credentials{}, err
			}
			counted = true
		}
		n, err := s.newAccount(ctx, user, req, account{})
		if err != nil {
			return Credentials{}, err
		}
		if p.id != "" {
			if err := n.end(&p, req, s); err != nil {
				return Credentials{}, err
			}
		}
		if p.Invitation != "" {
			n.invitation = len(n.writes)
			w, err := s.useInvitation(ctx, p.Invitation)
			if err != nil {
				return Credentials{}, err
			}
			n.writes = append(n.writes, w)
		}
		err = s.transact(ctx, n.writes...)
		f := store.Failed(err)
		switch {
		case err == nil:
			return n.credentials(s), nil
		case f == nil:
			return Credentials{}, fmt.Errorf("register %s: %w", user, err)
		}
		if _, used := f.Failed[n.invitation]; used && n.invitation > 0 {
			// Somebody else took the last use: the stage is not complete after all.
			p.Completed, p.Invitation, p.Done = nil, "", nil
			if p.id != "" {
				if err := s.keep(ctx, &p); err != nil {
					return Credentials{}, err
				}
			}
			return Credentials{}, s.challenge(ctx, op, &p, mxerr.Forbidden("This registration token is not valid any more."))
		}
		// The name was taken meanwhile, or the same session went on elsewhere;
		// what there is now decides.
	}
	return Credentials{}, errors.New("register: too many others register")
}

// UsernameAvailable returns nil if an account with this localpart could be
// registered now, and M_INVALID_USERNAME or M_USER_IN_USE otherwise.
func (s *Service) UsernameAvailable(ctx context.Context, username string) error {
	if err := s.registrationAllowed(); err != nil {
		return err
	}
	if username == "" {
		return invalidUsername("The user name is empty.")
	}
	_, err := s.available(ctx, username)
	return err
}

func invalidUsername(sentence string) *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_INVALID_USERNAME", "%s", sentence)
}

// available returns the user id of a localpart that is not taken; of none, a
// new one. Capital letters are the same as small ones.
func (s *Service) available(ctx context.Context, username string) (string, error) {
	if username == "" {
		name, err := s.newID()
		return id.User(strings.ToLower(name), s.opt.ServerName), err
	}
	user := id.User(strings.ToLower(username), s.opt.ServerName)
	if !id.ValidNewLocalpart(strings.ToLower(username)) {
		return "", invalidUsername("A user name has the characters a-z, 0-9, '.', '_', '=', '-', '/' and '+'.")
	}
	if len(user) > id.MaxLength {
		return "", invalidUsername("The user name is too long.")
	}
	taken, err := s.Exists(ctx, user)
	if err == nil && taken {
		err = userInUse()
	}
	return user, err
}

func userInUse() *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_USER_IN_USE", "This user name is taken.")
}

// newAccount is an account about to be made: the writes of its transaction.
type newAccount struct {
	user, device string
	tokens       tokens
	writes       []store.Write
	invitation   int // index of the write that uses a registration token, or 0
}

// accountWrite is the index of the write that fails if the name is taken.
const accountWrite = 0

// newAccount prepares an account and, unless that is inhibited, its first device.
func (s *Service) newAccount(ctx context.Context, user string, req Registration, a account) (n newAccount, err error) {
	if err := CheckPassword(req.Password); err != nil {
		return n, err
	}
	if a.Password, err = s.hashPassword(ctx, req.Password); err != nil {
		return n, err
	}
	now := s.opt.Clock.Now()
	a.Created = millis(now)
	n.user = user
	n.writes = []store.Write{
		store.Put(store.Users, accountKey(user), store.Encode(a)).If(store.NotExists()),
		store.Put(store.Users, profileKey(user), store.Encode(profileRow{Version: 1})),
	}
	n.writes = append(n.writes, renames(user, nil, names(user, nil))...)
	if req.InhibitLogin {
		return n, nil
	}
	if n.device = req.Device.DeviceID; n.device == "" {
		if n.device, err = s.newID(); err != nil {
			return n, err
		}
	}
	if n.tokens, err = s.newTokens(req.Device.Refresh, now); err != nil {
		return n, err
	}
	row := deviceRow{Name: req.Device.DisplayName, Created: millis(now), LastSeen: millis(now), Session: n.tokens.session}
	n.writes = append(n.writes, row.put(user, n.device, ""), n.tokens.put(user, n.device, a))
	return n, nil
}

// end ends the interactive session in this account, and makes the tokens ones
// that the session id can make again.
func (n *newAccount) end(p *proof, req Registration, s *Service) error {
	p.Done = &registered{Request: p.secret.mac(req.text()), UserID: n.user}
	if !req.InhibitLogin {
		salt, err := s.newSecret()
		if err != nil {
			return err
		}
		p.Done.DeviceID, p.Done.Session, p.Done.Salt = n.device, n.tokens.session, salt[:]
		p.Done.Until, p.Done.Refresh = n.tokens.until, n.tokens.refresh != nil
		n.tokens = p.Done.tokens(p.secret)
		n.writes[len(n.writes)-1] = n.tokens.put(n.user, n.device, account{})
	}
	n.writes = append(n.writes, p.write(s.opt.Clock.Now()))
	return nil
}

// text is the request as far as another one would be another account.
func (r Registration) text() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic("accounts: " + err.Error()) // it has strings and booleans only
	}
	return text
}

// tokens returns the tokens that a session id makes.
func (d registered) tokens(session secret) tokens {
	t := tokens{session: d.Session, access: session.derive(d.Salt, "access"), until: d.Until}
	if d.Refresh {
		r := session.derive(d.Salt, "refresh")
		t.refresh = &r
	}
	return t
}

// credentials is the answer.
func (n newAccount) credentials(s *Service) Credentials {
	if n.device == "" {
		return Credentials{UserID: n.user}
	}
	return n.tokens.credentials(n.user, n.device, s.opt.Clock.Now())
}

// answerAgain answers a request whose first answer was lost.
func (s *Service) answerAgain(p proof, req Registration) (Credentials, error) {
	if subtle.ConstantTimeCompare(p.Done.Request, p.secret.mac(req.text())) != 1 {
		return Credentials{}, mxerr.Forbidden("This session has already made the account %s; begin a new one without a session.", p.Done.UserID)
	}
	n := newAccount{user: p.Done.UserID, device: p.Done.DeviceID}
	if n.device != "" {
		n.tokens = p.Done.tokens(p.secret)
	}
	return n.credentials(s), nil
}
