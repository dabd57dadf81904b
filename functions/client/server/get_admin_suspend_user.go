package server

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getAdminSuspendUser tells an administrator whether an account is suspended.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid
var getAdminSuspendUser = route.Route{
	Name:    "getAdminSuspendUser",
	Pattern: "GET /_matrix/client/v1/admin/suspend/{userId}",
	Also:    route.Also{"/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend/{userId}"},
	Limit:   route.LimitRequest,
	Uses:    accounts.Judges,
	Handler: route.Handle(home.Accounts, serveGetAdminSuspendUser),
}

type getAdminSuspendUserRequest struct {
	UserID string `path:"userId"`
}

type adminSuspendUserResponse struct {
	Suspended bool `json:"suspended"`
}

func serveGetAdminSuspendUser(ctx context.Context, s *accounts.Service, c route.Caller, req *getAdminSuspendUserRequest) (*adminSuspendUserResponse, error) {
	suspended, err := s.Suspended(ctx, c.Session, req.UserID)
	if err != nil {
		return nil, err
	}
	return &adminSuspendUserResponse{suspended}, nil
}
