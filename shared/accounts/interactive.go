package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// The stages of user-interactive authentication that are served.
const (
	StageDummy             = "m.login.dummy"
	StageRegistrationToken = "m.login.registration_token"
	StagePassword          = "m.login.password"
)

// AuthData is the key `auth` of a request that needs user-interactive
// authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
type AuthData struct {
	Type    string `json:"type"`
	Session string `json:"session"`
	// Token is for m.login.registration_token.
	Token string `json:"token"`
	// Identifier (or the older User) and Password are for m.login.password.
	Identifier *Identifier `json:"identifier"`
	User       string      `json:"user"`
	Password   string      `json:"password"`
}

// Operation is what a user-interactive session is for. A session of one
// operation is worth nothing for another.
type Operation struct {
	// Name says what is to be done, and to what: "delete device ABC".
	Name string
	// UserID is whose password m.login.password asks for, and who is to do it.
	UserID string
	// Flows are lists of stages; completing one list is enough.
	Flows [][]string
}

func (o Operation) binding() string { return o.Name + "\x00" + o.UserID }

// interactionTTL is how long a dialogue may take, counted from its last step.
const interactionTTL = time.Hour

// interaction is the I row: the state of a user-interactive session.
type interaction struct {
	Version   int64    `db:"v"` // changes with every write
	Operation string   `db:"op"`
	Completed []string `db:"c,omitempty"`
	// Invitation is the key of the registration token of a completed stage.
	Invitation string `db:"rt,omitempty"`
	// Done is the registration that the session ended in.
	Done *registered `db:"dn,omitempty"`
}

// proof is what a request has shown so far.
type proof struct {
	interaction
	// id is the session id, and secret what is random in it; empty when the
	// client answered all stages at once without a session.
	id     string
	secret secret
}

func interactionKey(id string) store.Key { return store.Key{Part: "I#" + hashKey(id), Sort: "I"} }

// Confirm returns nil once the client has completed a flow of the operation, and
// until then the 401 answer that tells it what to do next. A completed session
// stays good for the same operation until it expires, so that a request whose
// answer was lost can be repeated.
func (s *Service) Confirm(ctx context.Context, op Operation, auth *AuthData) error {
	for range maxTries {
		p, err := s.resume(ctx, op, auth)
		if err != nil {
			return err
		}
		if err := s.advance(ctx, op, &p, auth); !errors.Is(err, errRaced) {
			return err
		}
	}
	return errRaced
}

// errRaced means that another request of the session changed it meanwhile; what
// it shows now has to be looked at again.
var errRaced = errors.New("other requests of the interactive session are faster")

// resume returns what the session of the request has shown before. A session
// that is unknown or has expired is like none.
func (s *Service) resume(ctx context.Context, op Operation, auth *AuthData) (proof, error) {
	if auth == nil || auth.Session == "" {
		return proof{}, nil
	}
	text, ok := strings.CutPrefix(auth.Session, interactionPrefix)
	if !ok {
		return proof{}, nil
	}
	p := proof{id: auth.Session}
	if p.secret, ok = parseSecret(text); !ok {
		return proof{}, nil
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Tokens, Key: interactionKey(p.id)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return proof{}, nil
	}
	if err != nil {
		return proof{}, fmt.Errorf("load interactive session: %w", err)
	}
	if !s.opt.Clock.Now().Before(it.Expires) {
		return proof{}, nil
	}
	if err := store.Decode(it, &p.interaction); err != nil {
		return proof{}, err
	}
	if p.Operation != op.binding() {
		return proof{}, mxerr.Forbidden("This session was begun for another operation.")
	}
	return p, nil
}

// advance tries the stage of the request, if it has one, and returns nil if a
// flow is complete.
func (s *Service) advance(ctx context.Context, op Operation, p *proof, auth *AuthData) error {
	switch {
	case auth == nil:
		return s.challenge(ctx, op, p, nil)
	case auth.Session != "" && p.id == "":
		return s.challenge(ctx, op, p, mxerr.Unknown("This session is unknown or has expired; continue with the one given here."))
	case auth.Type != "" && !slices.Contains(p.Completed, auth.Type):
		failed, err := s.tryStage(ctx, op, p, auth)
		if err != nil {
			return err
		}
		if failed != nil {
			return s.challenge(ctx, op, p, failed)
		}
		if p.id != "" {
			if err := s.keep(ctx, p); err != nil {
				return err
			}
		}
	}
	if !op.complete(p.Completed) {
		return s.challenge(ctx, op, p, nil)
	}
	return nil
}

func (o Operation) complete(stages []string) bool {
	return slices.ContainsFunc(o.Flows, func(flow []string) bool {
		return !slices.ContainsFunc(flow, func(stage string) bool { return !slices.Contains(stages, stage) })
	})
}

// tryStage adds the stage to the completed ones, or says why the client may try
// again.
func (s *Service) tryStage(ctx context.Context, op Operation, p *proof, auth *AuthData) (failed *mxerr.Error, err error) {
	offered := slices.ContainsFunc(op.Flows, func(flow []string) bool { return slices.Contains(flow, auth.Type) })
	if !offered {
		return mxerr.Unknown("The stage %q is not part of any of the flows.", auth.Type), nil
	}
	switch auth.Type {
	case StageRegistrationToken:
		valid, err := s.RegistrationTokenValid(ctx, auth.Token)
		if err != nil {
			return nil, err
		}
		if !valid {
			return mxerr.Forbidden("This registration token is not valid, or not any more."), nil
		}
		p.Invitation = hashKey(auth.Token)
	case StagePassword:
		user, err := s.identify(auth.Identifier, auth.User)
		if err != nil {
			return nil, err
		}
		if user != op.UserID {
			return mxerr.Forbidden("This has to be confirmed with the password of %s.", op.UserID), nil
		}
		if _, err := s.checkLogin(ctx, user, auth.Password); err != nil {
			if e := mxerr.As(err); e != nil && e.Status == http.StatusForbidden {
				return e, nil
			}
			return nil, err
		}
	}
	p.Completed = append(p.Completed, auth.Type)
	return nil, nil
}

// keep writes what the session has shown. Of two requests that complete a stage
// at once one gets errRaced, and finds the other's stage when it begins anew.
func (s *Service) keep(ctx context.Context, p *proof) error {
	err := s.write(ctx, p.write(s.opt.Clock.Now()))
	if store.Failed(err) != nil {
		return errRaced
	}
	if err != nil {
		return fmt.Errorf("write interactive session: %w", err)
	}
	p.Version++
	return nil
}

// write replaces the row if nobody did since it was read.
func (p *proof) write(now time.Time) store.Write {
	row := p.interaction
	row.Version++
	w := store.Put(store.Tokens, interactionKey(p.id), store.Encode(row)).Until(now.Add(interactionTTL))
	if p.Version == 0 {
		return w.If(store.NotExists())
	}
	return w.If(store.Equal("v", p.Version))
}

// challenge returns the 401 answer: what the client has to do, in which session,
// and why its last attempt failed. It begins a session if there is none.
func (s *Service) challenge(ctx context.Context, op Operation, p *proof, failed *mxerr.Error) error {
	if p.id == "" {
		var err error
		if p.secret, err = s.newSecret(); err != nil {
			return err
		}
		p.id, p.Operation = interactionPrefix+p.secret.String(), op.binding()
		if err := s.keep(ctx, p); err != nil {
			return err
		}
	}
	flows := make([]map[string][]string, len(op.Flows))
	for i, stages := range op.Flows {
		flows[i] = map[string][]string{"stages": stages}
	}
	e := &mxerr.Error{Status: http.StatusUnauthorized}
	if failed != nil {
		e.Code, e.Message = failed.Code, failed.Message
	}
	e = e.With("flows", flows).With("params", struct{}{}).With("session", p.id)
	if len(p.Completed) > 0 {
		e = e.With("completed", p.Completed)
	}
	return e
}
