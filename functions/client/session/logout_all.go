package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// logoutAll ends all sessions of the user and deletes all devices.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
var logoutAll = route.Route{
	Name:     "logout_all",
	Pattern:  "POST /_matrix/client/v3/logout/all",
	Also:     route.R0,
	Standing: route.LockedToo,
	Uses:     accounts.LogsIn,
	Handler:  route.Handle(home.Accounts, serveLogoutAll),
}

func serveLogoutAll(ctx context.Context, s *accounts.Service, c route.Caller, _ *route.Empty) (*route.Empty, error) {
	return &route.Empty{}, s.LogoutAll(ctx, c.Session)
}
