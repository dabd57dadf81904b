package registration

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// checkUsernameAvailability tells whether a user name could be registered now. It
// reserves nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
var checkUsernameAvailability = route.Route{
	Name:    "checkUsernameAvailability",
	Pattern: "GET /_matrix/client/v3/register/available",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitLogin, // people type several names before they register
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveCheckUsernameAvailability),
}

type checkUsernameAvailabilityRequest struct {
	Username string `query:"username" required:"true"`
}

type checkUsernameAvailabilityResponse struct {
	Available bool `json:"available"`
}

func serveCheckUsernameAvailability(ctx context.Context, s *accounts.Service, _ route.Caller, req *checkUsernameAvailabilityRequest) (*checkUsernameAvailabilityResponse, error) {
	if err := s.UsernameAvailable(ctx, req.Username); err != nil {
		return nil, err
	}
	return &checkUsernameAvailabilityResponse{true}, nil
}
