package interactive

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// authFallback is a page that completes a stage in a browser, for clients that
// cannot.
//
// https://spec.matrix.org/v1.19/client-server-api/#fallback
var authFallback = route.Route{
	Name:    "authFallback",
	Pattern: "GET /_matrix/client/v3/auth/{authType}/fallback/web",
	Also:    route.R0,
	Auth:    route.Public, // by the session id, which is a secret
	Limit:   route.LimitLogin,
	Uses:    accounts.ChecksTokens,
	Handler: route.Raw(home.Accounts, serveAuthFallback),
}

func serveAuthFallback(ctx context.Context, s *accounts.Service, _ route.Caller, w http.ResponseWriter, r *http.Request) error {
	session := r.URL.Query().Get("session")
	stage, err := s.Stage(ctx, session, r.PathValue("authType"))
	return answer(w, page{Stage: stage, Type: r.PathValue("authType"), Session: session}, err)
}
