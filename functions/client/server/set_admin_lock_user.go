package server

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// setAdminLockUser locks an account for an administrator, or unlocks it.
// Locked users are refused everything but logging out, until they are unlocked; their
// sessions stay.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
var setAdminLockUser = route.Route{
	Name:    "setAdminLockUser",
	Pattern: "PUT /_matrix/client/v1/admin/lock/{userId}",
	Also:    route.Also{"/_matrix/client/unstable/uk.timedout.msc4323/admin/lock/{userId}"},
	Limit:   route.LimitRequest,
	Uses:    accounts.Moderates,
	Handler: route.Handle(home.Accounts, serveSetAdminLockUser),
}

type setAdminLockUserRequest struct {
	UserID string `path:"userId"`
	Locked bool   `json:"locked" required:"true"`
}

func serveSetAdminLockUser(ctx context.Context, s *accounts.Service, c route.Caller, req *setAdminLockUserRequest) (*adminLockUserResponse, error) {
	if err := s.SetLocked(ctx, c.Session, req.UserID, req.Locked); err != nil {
		return nil, err
	}
	return &adminLockUserResponse{req.Locked}, nil
}
