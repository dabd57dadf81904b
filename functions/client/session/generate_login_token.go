package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// generateLoginToken gives a logged-in client a token by which another device of
// the user can log in. The user is asked each time.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
var generateLoginToken = route.Route{
	Name:     "generateLoginToken",
	Pattern:  "POST /_matrix/client/v1/login/get_token",
	Also:     route.Also{"/_matrix/client/unstable/org.matrix.msc3882/login/get_token"},
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Size:     route.Large, // hashes a password
	Uses:     accounts.Confirms,
	Handler:  route.Handle(home.Accounts, serveGenerateLoginToken),
}

type generateLoginTokenRequest struct {
	Auth *accounts.AuthData `json:"auth"`
}

type generateLoginTokenResponse struct {
	LoginToken  string `json:"login_token"`
	ExpiresInMS int64  `json:"expires_in_ms"`
}

func serveGenerateLoginToken(ctx context.Context, s *accounts.Service, c route.Caller, req *generateLoginTokenRequest) (*generateLoginTokenResponse, error) {
	op := accounts.ByPassword("generateLoginToken", c.UserID, nil)
	op.Once = true
	if _, err := s.Confirm(ctx, op, req.Auth); err != nil {
		return nil, err
	}
	token, err := s.LoginToken(ctx, c.UserID)
	if err != nil {
		return nil, err
	}
	return &generateLoginTokenResponse{token, accounts.LoginTokenLifetime.Milliseconds()}, nil
}
