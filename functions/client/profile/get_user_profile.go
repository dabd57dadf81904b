package profile

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getUserProfile shows all of a user's profile.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
var getUserProfile = route.Route{
	Name:    "getUserProfile",
	Pattern: "GET /_matrix/client/v3/profile/{userId}",
	Also:    route.R0,
	Auth:    route.Public,
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveGetUserProfile),
}

type getUserProfileRequest struct {
	UserID string `path:"userId"`
}

func serveGetUserProfile(ctx context.Context, s *accounts.Service, _ route.Caller, req *getUserProfileRequest) (*map[string]json.RawMessage, error) {
	p, err := s.Profile(ctx, req.UserID)
	fields := map[string]json.RawMessage(p)
	return &fields, err
}
