package interactive

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// completeAuthFallback is what the form of authFallback is sent to. The client
// then asks again, with the session alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#fallback
var completeAuthFallback = route.Route{
	Name:    "completeAuthFallback",
	Pattern: "POST /_matrix/client/v3/auth/{authType}/fallback/web",
	Also:    route.R0,
	Auth:    route.Public,        // by the session id, which is a secret
	Limit:   route.LimitRegister, // against guessing registration tokens
	Size:    route.Large,         // hashes a password
	Uses:    accounts.Confirms,
	Handler: route.Raw(home.Accounts, serveCompleteAuthFallback),
}

func serveCompleteAuthFallback(ctx context.Context, s *accounts.Service, _ route.Caller, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return mxerr.Unknown("The form could not be read.")
	}
	auth := &accounts.AuthData{
		Type: r.PathValue("authType"), Session: r.Form.Get("session"),
		Token: r.PostForm.Get("token"), User: r.PostForm.Get("user"), Password: r.PostForm.Get("password"),
	}
	stage, err := s.Stage(ctx, auth.Session, auth.Type)
	if err == nil {
		if auth.User == "" {
			auth.User = stage.UserID
		}
		err = s.CompleteStage(ctx, auth)
		stage.Completed = err == nil
	}
	return answer(w, page{Stage: stage, Type: auth.Type, Session: auth.Session}, err)
}
