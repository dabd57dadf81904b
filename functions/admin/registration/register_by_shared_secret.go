package registration

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// registerBySharedSecret makes an account for whoever knows the shared secret,
// also where registration is closed.
//
// https://element-hq.github.io/synapse/latest/admin_api/register_api.html
var registerBySharedSecret = route.Route{
	Name:    "registerBySharedSecret",
	Pattern: "POST /_synapse/admin/v1/register",
	Auth:    route.SharedSecret,
	Limit:   route.LimitLogin,
	Size:    route.Large, // hashes a password
	Uses:    accounts.Registers,
	Handler: route.Handle(home.Accounts, serveRegisterBySharedSecret),
}

type registerBySharedSecretRequest struct {
	Nonce        string  `json:"nonce" required:"true"`
	Username     string  `json:"username" required:"true"`
	Password     string  `json:"password" required:"true"`
	MAC          string  `json:"mac" required:"true"`
	Admin        bool    `json:"admin"`
	UserType     string  `json:"user_type"`
	DisplayName  *string `json:"displayname"`
	DeviceID     string  `json:"device_id"`
	DeviceName   string  `json:"initial_device_display_name"`
	InhibitLogin bool    `json:"inhibit_login"`
	RefreshToken bool    `json:"refresh_token"`
}

type registerBySharedSecretResponse struct {
	accounts.Credentials
	HomeServer string `json:"home_server"`
}

func serveRegisterBySharedSecret(ctx context.Context, s *accounts.Service, _ route.Caller, req *registerBySharedSecretRequest) (*registerBySharedSecretResponse, error) {
	c, err := s.RegisterBySharedSecret(ctx, accounts.SharedSecretRegistration{
		Registration: accounts.Registration{
			Username:     req.Username,
			Password:     req.Password,
			InhibitLogin: req.InhibitLogin,
			Device:       accounts.DeviceRequest{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Refresh: req.RefreshToken},
		},
		Nonce:       req.Nonce,
		Admin:       req.Admin,
		UserType:    req.UserType,
		DisplayName: req.DisplayName,
		MAC:         req.MAC,
	})
	if err != nil {
		return nil, err
	}
	return &registerBySharedSecretResponse{c, id.Server(c.UserID)}, nil
}
