package accounts

import (
	"context"
	"encoding/json"
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
	// Name is the operationId of the endpoint.
	Name string
	// UserID is who is to do it, and whose password m.login.password asks for.
	// Where it is empty whoever has a password here may do it to the own account.
	UserID string
	// Request is all that the endpoint was asked to do, as a value that JSON can
	// encode. A user who confirms that one device is deleted has not confirmed
	// that another is.
	Request any
	// Flows are lists of stages, to be completed in order; one list is enough.
	Flows [][]string
	// Once operations are confirmed anew each time: their session ends with the
	// request that completes it.
	Once bool
}

// ByPassword returns an operation that a user confirms with the password.
func ByPassword(name, user string, request any) Operation {
	return Operation{Name: name, UserID: user, Request: request, Flows: [][]string{{StagePassword}}}
}

func (o Operation) binding() string {
	text, err := json.Marshal(o.Request)
	if err != nil {
		panic("accounts: " + err.Error()) // requests came as JSON
	}
	return o.Name + "\x00" + o.UserID + "\x00" + hashKey(string(text))
}

// interactionTTL is how long a dialogue may take, counted from its last step.
const interactionTTL = time.Hour

// interaction is the I row: the state of a user-interactive session.
type interaction struct {
	Version   int64    `db:"v"` // changes with every write
	Operation string   `db:"op"`
	Completed []string `db:"c,omitempty"`
	// Flows are those of the operation, for stages that are completed elsewhere.
	Flows [][]string `db:"fl,omitempty"`
	// UserID is who is to do it, known from the beginning or by the password.
	UserID string `db:"u,omitempty"`
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

// Confirm returns who does it once the client has completed a flow of the
// operation, and until then the 401 answer that tells it what to do next. Unless
// it is for Once, a completed session stays good for the same operation until it
// expires, so that a request whose answer was lost can be repeated.
func (s *Service) Confirm(ctx context.Context, op Operation, auth *AuthData) (user string, err error) {
	for range maxTries {
		p, err := s.resume(ctx, op, auth)
		if err != nil {
			return "", err
		}
		if err = s.advance(ctx, op, &p, auth); err == nil && op.Once {
			err = s.end(ctx, &p)
		}
		if !errors.Is(err, errRaced) {
			return p.UserID, err
		}
	}
	return "", errRaced
}

// end ends a session that is good for one request. Of two at once one gets
// errRaced, and finds no session when it begins anew.
func (s *Service) end(ctx context.Context, p *proof) error {
	if p.id == "" {
		return nil
	}
	err := s.write(ctx, store.Delete(store.Tokens, interactionKey(p.id)).If(store.Equal("v", p.Version)))
	if store.Failed(err) != nil {
		return errRaced
	}
	return err
}

// errRaced means that another request of the session changed it meanwhile; what
// it shows now has to be looked at again.
var errRaced = errors.New("other requests of the interactive session are faster")

// resume returns what the session of the request has shown before. A session
// that is unknown or has expired is like none.
func (s *Service) resume(ctx context.Context, op Operation, auth *AuthData) (proof, error) {
	none := proof{interaction: interaction{UserID: op.UserID}}
	if auth == nil || auth.Session == "" {
		return none, nil
	}
	p, err := s.interaction(ctx, auth.Session)
	if err != nil || p.id == "" {
		return none, err
	}
	if p.Operation != op.binding() {
		return proof{}, mxerr.Forbidden("This session was begun for another request; begin a new one without a session.")
	}
	return p, nil
}

// interaction returns what a session has shown, with an empty id if there is no
// such session or it has expired.
func (s *Service) interaction(ctx context.Context, session string) (proof, error) {
	text, ok := strings.CutPrefix(session, interactionPrefix)
	if !ok {
		return proof{}, nil
	}
	p := proof{id: session}
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
	return p, store.Decode(it, &p.interaction)
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
		failed, err := s.tryStage(ctx, op.Flows, p, auth)
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
	return slices.ContainsFunc(o.Flows, func(flow []string) bool { return slices.Equal(flow, stages) })
}

// isNext reports whether the stage continues one of the flows.
func isNext(flows [][]string, completed []string, stage string) bool {
	n := len(completed)
	return slices.ContainsFunc(flows, func(flow []string) bool {
		return len(flow) > n && slices.Equal(flow[:n], completed) && flow[n] == stage
	})
}

// tryStage adds the stage to the completed ones, or says why the client may try
// again.
func (s *Service) tryStage(ctx context.Context, flows [][]string, p *proof, auth *AuthData) (failed *mxerr.Error, err error) {
	if !isNext(flows, p.Completed, auth.Type) {
		return mxerr.Unknown("The stage %q is not the next one of any of the flows.", auth.Type), nil
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
		if p.UserID != "" && user != p.UserID {
			// Not a slip to try again, but another's token: clients and test suites
			// know this as 403.
			return nil, mxerr.Forbidden("This has to be confirmed with the password of %s.", p.UserID)
		}
		if _, err := s.checkLogin(ctx, user, auth.Password); err != nil {
			if e := mxerr.As(err); e != nil && e.Status == http.StatusForbidden {
				return e, nil
			}
			return nil, err
		}
		p.UserID = user
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
		p.id, p.Operation, p.Flows = interactionPrefix+p.secret.String(), op.binding(), op.Flows
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
	if failed != nil || len(p.Completed) > 0 {
		e = e.With("completed", append([]string{}, p.Completed...)) // a list, also if empty
	}
	return e
}

// Stage is what is left to do of a user-interactive session, for the page that
// does it where a client cannot.
type Stage struct {
	// UserID is whose password is asked for; empty if the page has to ask that
	// too, or nobody's is.
	UserID string
	// Completed says that the stage is done.
	Completed bool
}

// Stage returns how a session stands with a stage. It is M_NOT_FOUND if there is
// no such session (any more), or if the stage is not its next one.
func (s *Service) Stage(ctx context.Context, session, stage string) (Stage, error) {
	p, err := s.interaction(ctx, session)
	if err != nil {
		return Stage{}, err
	}
	return p.stage(stage)
}

func (p proof) stage(stage string) (Stage, error) {
	if p.id == "" {
		return Stage{}, mxerr.NotFound("This session is unknown or has expired; go back to the app and begin anew.")
	}
	done := slices.Contains(p.Completed, stage)
	if !done && !isNext(p.Flows, p.Completed, stage) {
		return Stage{}, mxerr.NotFound("This session is not waiting for the stage %q.", stage)
	}
	return Stage{UserID: p.UserID, Completed: done}, nil
}

// CompleteStage completes the stage of the session that auth names, for whichever
// operation the session was begun. What it could not complete may be tried again.
func (s *Service) CompleteStage(ctx context.Context, auth *AuthData) error {
	for range maxTries {
		p, err := s.interaction(ctx, auth.Session)
		if err != nil {
			return err
		}
		if st, err := p.stage(auth.Type); err != nil || st.Completed {
			return err
		}
		failed, err := s.tryStage(ctx, p.Flows, &p, auth)
		if err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		if err := s.keep(ctx, &p); !errors.Is(err, errRaced) {
			return err
		}
	}
	return errRaced
}
