package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getTokenOwner tells whose access token it is.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
var getTokenOwner = route.Route{
	Name:    "getTokenOwner",
	Pattern: "GET /_matrix/client/v3/account/whoami",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.Accounts, serveGetTokenOwner),
}

type getTokenOwnerResponse struct {
	UserID   string `json:"user_id"`
	DeviceID string `json:"device_id,omitempty"`
	IsGuest  bool   `json:"is_guest"`
}

func serveGetTokenOwner(_ context.Context, _ *accounts.Service, c route.Caller, _ *route.Empty) (*getTokenOwnerResponse, error) {
	return &getTokenOwnerResponse{c.UserID, c.DeviceID, c.Guest}, nil
}
