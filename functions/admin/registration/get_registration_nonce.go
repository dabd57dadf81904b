package registration

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getRegistrationNonce gives a nonce for one registration by shared secret.
//
// https://element-hq.github.io/synapse/latest/admin_api/register_api.html
var getRegistrationNonce = route.Route{
	Name:    "getRegistrationNonce",
	Pattern: "GET /_synapse/admin/v1/register",
	Auth:    route.SharedSecret,
	Limit:   route.LimitLogin,
	Uses:    accounts.MakesNonces,
	Handler: route.Handle(home.Accounts, serveGetRegistrationNonce),
}

type getRegistrationNonceResponse struct {
	Nonce string `json:"nonce"`
}

func serveGetRegistrationNonce(ctx context.Context, s *accounts.Service, _ route.Caller, _ *route.Empty) (*getRegistrationNonceResponse, error) {
	nonce, err := s.RegistrationNonce(ctx)
	if err != nil {
		return nil, err
	}
	return &getRegistrationNonceResponse{nonce}, nil
}
