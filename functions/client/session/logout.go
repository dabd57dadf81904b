package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// logout ends the session of the access token and deletes its device.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
var logout = route.Route{
	Name:     "logout",
	Pattern:  "POST /_matrix/client/v3/logout",
	Also:     route.R0,
	Standing: route.LockedToo,
	Uses:     accounts.LogsOut,
	Handler:  route.Handle(home.Accounts, serveLogout),
}

func serveLogout(ctx context.Context, s *accounts.Service, c route.Caller, _ *route.Empty) (*route.Empty, error) {
	return &route.Empty{}, s.Logout(ctx, c.Session)
}
