package registration

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// register makes an account, and logs its first device in.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
var register = route.Route{
	Name:    "register",
	Pattern: "POST /_matrix/client/v3/register",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitRegister,
	Size:    route.Large, // hashes a password
	Uses:    accounts.Registers,
	Handler: route.Handle(home.Accounts, serveRegister),
}

type registerRequest struct {
	Kind         string             `query:"kind"`
	Auth         *accounts.AuthData `json:"auth"`
	Username     string             `json:"username"`
	Password     string             `json:"password"`
	DeviceID     string             `json:"device_id"`
	DeviceName   string             `json:"initial_device_display_name"`
	InhibitLogin bool               `json:"inhibit_login"`
	RefreshToken bool               `json:"refresh_token"`
}

type registerResponse struct {
	accounts.Credentials
	// HomeServer is deprecated, and still read by old clients.
	HomeServer string `json:"home_server"`
}

func serveRegister(ctx context.Context, s *accounts.Service, c route.Caller, req *registerRequest) (*registerResponse, error) {
	switch req.Kind {
	case "", "user":
	case "guest":
		return nil, mxerr.New(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "There are no guest accounts on this server.")
	default:
		return nil, mxerr.InvalidParam("There are accounts of the kinds \"user\" and \"guest\", not %q.", req.Kind)
	}
	made, err := s.Register(ctx, accounts.Registration{
		Username:     req.Username,
		Password:     req.Password,
		InhibitLogin: req.InhibitLogin,
		Device:       accounts.DeviceRequest{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Refresh: req.RefreshToken},
		Address:      c.Network(),
	}, req.Auth)
	if err != nil {
		return nil, err
	}
	return &registerResponse{made, id.Server(made.UserID)}, nil
}
