package server

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// setAdminSuspendUser suspends an account for an administrator, or ends that.
// Suspended users may read, and do what the routes declare.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid
var setAdminSuspendUser = route.Route{
	Name:    "setAdminSuspendUser",
	Pattern: "PUT /_matrix/client/v1/admin/suspend/{userId}",
	Also:    route.Also{"/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend/{userId}"},
	Limit:   route.LimitRequest,
	Uses:    accounts.Moderates,
	Handler: route.Handle(home.Accounts, serveSetAdminSuspendUser),
}

type setAdminSuspendUserRequest struct {
	UserID    string `path:"userId"`
	Suspended bool   `json:"suspended" required:"true"`
}

func serveSetAdminSuspendUser(ctx context.Context, s *accounts.Service, c route.Caller, req *setAdminSuspendUserRequest) (*adminSuspendUserResponse, error) {
	if err := s.SetSuspended(ctx, c.Session, req.UserID, req.Suspended); err != nil {
		return nil, err
	}
	return &adminSuspendUserResponse{req.Suspended}, nil
}
