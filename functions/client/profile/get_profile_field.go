package profile

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getProfileField shows one field of a user's profile.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
var getProfileField = route.Route{
	Name:    "getProfileField",
	Pattern: "GET /_matrix/client/v3/profile/{userId}/{keyName}",
	Also:    alsoField,
	Auth:    route.Public,
	Uses:    accounts.Reads,
	Handler: route.Handle(home.Accounts, serveGetProfileField),
}

type profileFieldRequest struct {
	UserID  string `path:"userId"`
	KeyName string `path:"keyName"`
}

func serveGetProfileField(ctx context.Context, s *accounts.Service, _ route.Caller, req *profileFieldRequest) (*map[string]json.RawMessage, error) {
	p, err := s.Profile(ctx, req.UserID)
	if err != nil {
		return nil, err
	}
	value, ok := p[req.KeyName]
	if !ok {
		return nil, mxerr.NotFound("The profile of %s has no %s.", req.UserID, req.KeyName)
	}
	return &map[string]json.RawMessage{req.KeyName: value}, nil
}
