package openid

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// exchangeOpenIDToken tells whose OpenID token it is.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
var exchangeOpenIDToken = route.Route{
	Name:    "exchangeOpenIdToken",
	Pattern: "GET /_matrix/federation/v1/openid/userinfo",
	Auth:    route.Public, // the token is the question; no server signs it
	Uses:    accounts.ReadsDevices,
	Handler: route.Handle(home.Accounts, serveExchangeOpenIDToken),
}

type exchangeOpenIDTokenRequest struct {
	AccessToken string `query:"access_token"`
}

type exchangeOpenIDTokenResponse struct {
	Sub string `json:"sub"`
}

func serveExchangeOpenIDToken(ctx context.Context, s *accounts.Service, _ route.Caller, req *exchangeOpenIDTokenRequest) (*exchangeOpenIDTokenResponse, error) {
	if req.AccessToken == "" {
		return nil, mxerr.New(http.StatusUnauthorized, "M_MISSING_TOKEN", "The query parameter \"access_token\" is missing.")
	}
	user, err := s.OpenIDUser(ctx, req.AccessToken)
	if err != nil {
		return nil, err
	}
	return &exchangeOpenIDTokenResponse{user}, nil
}
