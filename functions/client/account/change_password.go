package account

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// changePassword changes a password and, unless the client wants otherwise, logs
// all other devices out. Without an access token it is for whoever knows the
// present password.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
var changePassword = route.Route{
	Name:     "changePassword",
	Pattern:  "POST /_matrix/client/v3/account/password",
	Also:     route.R0,
	Auth:     route.Optional,
	Standing: route.SuspendedToo,
	Limit:    route.LimitLogin,
	Size:     route.Large, // hashes two passwords
	Uses:     accounts.ManagesSessions,
	Handler:  route.Handle(home.Accounts, serveChangePassword),
}

type changePasswordRequest struct {
	NewPassword   string             `json:"new_password" required:"true"`
	LogoutDevices *bool              `json:"logout_devices"`
	Auth          *accounts.AuthData `json:"auth"`
}

func serveChangePassword(ctx context.Context, s *accounts.Service, c route.Caller, req *changePasswordRequest) (*route.Empty, error) {
	if err := accounts.CheckPassword(req.NewPassword); err != nil {
		return nil, err
	}
	logout := req.LogoutDevices == nil || *req.LogoutDevices
	user, err := s.Confirm(ctx, accounts.ByPassword("changePassword", c.UserID, []any{req.NewPassword, logout}), req.Auth)
	if err != nil {
		return nil, err
	}
	if err := s.ChangePassword(ctx, user, req.NewPassword); err != nil {
		return nil, err
	}
	if logout {
		// Nobody can log in with the former password any more, so these are all.
		err = s.LogoutOthers(ctx, user, c.DeviceID)
	}
	return &route.Empty{}, err
}
