package registration

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// registrationTokenValidity tells whether a registration token is good now.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
var registrationTokenValidity = route.Route{
	Name:    "registrationTokenValidity",
	Pattern: "GET /_matrix/client/v1/register/m.login.registration_token/validity",
	Auth:    route.Public,
	Limit:   route.LimitRegister, // against guessing
	Uses:    accounts.ChecksTokens,
	Handler: route.Handle(home.Accounts, serveRegistrationTokenValidity),
}

type registrationTokenValidityRequest struct {
	Token string `query:"token" required:"true"`
}

type registrationTokenValidityResponse struct {
	Valid bool `json:"valid"`
}

func serveRegistrationTokenValidity(ctx context.Context, s *accounts.Service, _ route.Caller, req *registrationTokenValidityRequest) (*registrationTokenValidityResponse, error) {
	valid, err := s.RegistrationTokenValid(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	return &registrationTokenValidityResponse{valid}, nil
}
