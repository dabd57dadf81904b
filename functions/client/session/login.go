package session

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// login checks who somebody is and gives their device an access token.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
var login = route.Route{
	Name:    "login",
	Pattern: "POST /_matrix/client/v3/login",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitLogin,
	Size:    route.Large, // hashes a password
	Uses:    accounts.ManagesSessions,
	Handler: route.Handle(home.Accounts, serveLogin),
}

type loginRequest struct {
	Type         string               `json:"type" required:"true"`
	Identifier   *accounts.Identifier `json:"identifier"`
	User         string               `json:"user"`
	Password     string               `json:"password"`
	Token        string               `json:"token"`
	DeviceID     string               `json:"device_id"`
	DeviceName   string               `json:"initial_device_display_name"`
	RefreshToken bool                 `json:"refresh_token"`
}

type loginResponse struct {
	accounts.Credentials
	// HomeServer is deprecated, and still read by old clients.
	HomeServer string `json:"home_server"`
}

func serveLogin(ctx context.Context, s *accounts.Service, _ route.Caller, req *loginRequest) (*loginResponse, error) {
	device := accounts.DeviceRequest{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Refresh: req.RefreshToken}
	var c accounts.Credentials
	var err error
	switch req.Type {
	case "m.login.password":
		c, err = s.LoginWithPassword(ctx, accounts.Login{
			Identifier: req.Identifier, User: req.User, Password: req.Password, Device: device,
		})
	case "m.login.token":
		c, err = s.LoginWithToken(ctx, req.Token, device)
	default:
		return nil, mxerr.Unknown("The login type %q is not one of this server's.", req.Type)
	}
	if err != nil {
		return nil, err
	}
	return &loginResponse{c, id.Server(c.UserID)}, nil
}
