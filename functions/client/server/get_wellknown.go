package server

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getWellknown tells clients where the homeserver of a domain is.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
var getWellknown = route.Route{
	Name:    "getWellknown",
	Pattern: "GET /.well-known/matrix/client",
	Auth:    route.Public,
	Handler: route.Handle(home.About, serveGetWellknown),
}

type getWellknownResponse struct {
	Homeserver struct {
		BaseURL string `json:"base_url"`
	} `json:"m.homeserver"`
}

// Headers lets the answer be kept for an hour: servers seldom move.
func (*getWellknownResponse) Headers(h http.Header) { h.Set("Cache-Control", "public, max-age=3600") }

func serveGetWellknown(_ context.Context, about *home.Self, _ route.Caller, _ *route.Empty) (*getWellknownResponse, error) {
	// The Host header is no answer: whoever sends one could poison a cache, and
	// behind a proxy it says nothing of the scheme.
	if about.Config.PublicBaseURL == "" {
		return nil, mxerr.NotFound("This server was not told its public address; set public_baseurl.")
	}
	resp := new(getWellknownResponse)
	resp.Homeserver.BaseURL = about.Config.PublicBaseURL
	return resp, nil
}
