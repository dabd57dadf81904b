package server

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getAdminLockUser tells an administrator whether an account is locked.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid
var getAdminLockUser = route.Route{
	Name:    "getAdminLockUser",
	Pattern: "GET /_matrix/client/v1/admin/lock/{userId}",
	Also:    route.Also{"/_matrix/client/unstable/uk.timedout.msc4323/admin/lock/{userId}"},
	Limit:   route.LimitRequest,
	Uses:    accounts.Judges,
	Handler: route.Handle(home.Accounts, serveGetAdminLockUser),
}

type getAdminLockUserRequest struct {
	UserID string `path:"userId"`
}

type adminLockUserResponse struct {
	Locked bool `json:"locked"`
}

func serveGetAdminLockUser(ctx context.Context, s *accounts.Service, c route.Caller, req *getAdminLockUserRequest) (*adminLockUserResponse, error) {
	locked, err := s.Locked(ctx, c.Session, req.UserID)
	if err != nil {
		return nil, err
	}
	return &adminLockUserResponse{locked}, nil
}
