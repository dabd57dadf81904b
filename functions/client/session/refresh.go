package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// refresh gives a client a new access token before the old one expires, or after.
// The refresh token is good until one of the new tokens is used, and is answered
// the same until then.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
var refresh = route.Route{
	Name:    "refresh",
	Pattern: "POST /_matrix/client/v3/refresh",
	Auth:    route.Public, // by the refresh token
	Limit:   route.LimitLogin,
	Uses:    accounts.Authenticates,
	Handler: route.Handle(home.Accounts, serveRefresh),
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token" required:"true"`
}

type refreshResponse struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresInMS  int64  `json:"expires_in_ms"`
}

func serveRefresh(ctx context.Context, s *accounts.Service, _ route.Caller, req *refreshRequest) (*refreshResponse, error) {
	c, err := s.Refresh(ctx, req.RefreshToken)
	if err != nil {
		return nil, err
	}
	return &refreshResponse{c.AccessToken, c.RefreshToken, c.ExpiresInMS}, nil
}
