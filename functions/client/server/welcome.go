package server

import (
	"context"
	_ "embed"
	"html"
	"io"
	"net/http"
	"strings"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// welcome tells a person with a browser that there is nothing to see here, and
// what to do instead.
var welcome = route.Route{
	Name:    "welcome",
	Pattern: "GET /",
	Auth:    route.Public,
	Handler: route.Raw(home.About, serveWelcome),
}

//go:embed welcome.html
var welcomePage string

func serveWelcome(_ context.Context, about *home.Self, _ route.Caller, w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = io.WriteString(w, strings.ReplaceAll(welcomePage, "{{server_name}}", html.EscapeString(about.Config.ServerName)))
	return nil
}
