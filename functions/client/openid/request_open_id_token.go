package openid

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// requestOpenIDToken gives a token by which another service learns who the user
// is.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
var requestOpenIDToken = route.Route{
	Name:    "requestOpenIdToken",
	Pattern: "POST /_matrix/client/v3/user/{userId}/openid/request_token",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.MakesNonces,
	Handler: route.Handle(home.Accounts, serveRequestOpenIDToken),
}

type requestOpenIDTokenRequest struct {
	UserID string `path:"userId"`
}

type requestOpenIDTokenResponse struct {
	AccessToken      string `json:"access_token"`
	TokenType        string `json:"token_type"`
	MatrixServerName string `json:"matrix_server_name"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
}

func serveRequestOpenIDToken(ctx context.Context, s *accounts.Service, c route.Caller, req *requestOpenIDTokenRequest) (*requestOpenIDTokenResponse, error) {
	if req.UserID != c.UserID {
		return nil, mxerr.Forbidden("You cannot prove to be %s.", req.UserID)
	}
	token, err := s.OpenIDToken(ctx, c.UserID)
	if err != nil {
		return nil, err
	}
	return &requestOpenIDTokenResponse{token, "Bearer", id.Server(c.UserID), int64(accounts.OpenIDLifetime.Seconds())}, nil
}
