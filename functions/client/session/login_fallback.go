package session

import (
	"context"
	_ "embed"
	"net/http"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// loginFallback is a page on which a person logs in, for apps that cannot ask for a
// password themselves. The app is told by a function that it puts into the page;
// without one nobody is logged in.
//
// https://spec.matrix.org/v1.19/client-server-api/#login-fallback
var loginFallback = route.Route{
	Name:    "loginFallback",
	Pattern: "GET /_matrix/static/client/login/",
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Raw(home.About, serveLoginFallback),
}

//go:embed login_fallback.html
var loginFallbackBody string

//go:embed login_fallback.js
var loginFallbackScript string

func serveLoginFallback(_ context.Context, about *home.Self, _ route.Caller, w http.ResponseWriter, _ *http.Request) error {
	return route.Page{
		Title: "Log in to " + about.Config.ServerName, Body: route.HTML(loginFallbackBody),
		Script: loginFallbackScript, Allow: []string{"connect-src 'self'"},
	}.WriteTo(w)
}
