package server

import (
	"context"
	"io"
	"net/http"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// health tells load balancers that the server answers. Its path is the one that
// Synapse has.
var health = route.Route{
	Name:    "health",
	Pattern: "GET /health",
	Auth:    route.Public,
	Handler: route.Raw(home.About, serveHealth),
}

func serveHealth(_ context.Context, _ *home.Self, _ route.Caller, w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "OK") // the prober may be gone
	return nil
}
