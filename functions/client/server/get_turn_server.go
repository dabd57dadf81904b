package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getTurnServer gives credentials for the TURN servers that calls go through.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
var getTurnServer = route.Route{
	Name:    "getTurnServer",
	Pattern: "GET /_matrix/client/v3/voip/turnServer",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveGetTurnServer),
}

// Without TURN servers the response is an empty object, as clients expect.
type getTurnServerResponse struct {
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	URIs     []string `json:"uris,omitempty"`
	TTL      int64    `json:"ttl,omitempty"`
}

func serveGetTurnServer(_ context.Context, about *home.Self, c route.Caller, _ *route.Empty) (*getTurnServerResponse, error) {
	cfg := about.Config
	if len(cfg.TURNURIs) == 0 {
		return &getTurnServerResponse{}, nil
	}
	// The TURN server computes the same from the secret that it shares with us:
	// https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00
	username := fmt.Sprintf("%d:%s", about.Clock.Now().Add(cfg.TURNUserLifetime).Unix(), c.UserID)
	mac := hmac.New(sha1.New, []byte(cfg.TURNSharedSecret))
	mac.Write([]byte(username))
	return &getTurnServerResponse{
		Username: username,
		Password: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		URIs:     cfg.TURNURIs,
		TTL:      int64(cfg.TURNUserLifetime.Seconds()),
	}, nil
}
