package account

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// deactivateAccount ends an account for good. Its name stays taken. With erase
// the profile and account data are deleted; that its events are shown redacted to
// those who join later is not done.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
var deactivateAccount = route.Route{
	Name:     "deactivateAccount",
	Pattern:  "POST /_matrix/client/v3/account/deactivate",
	Also:     route.R0,
	Auth:     route.Optional,
	Standing: route.SuspendedToo,
	Limit:    route.LimitLogin,
	Size:     route.Large, // hashes a password, and leaves rooms
	Uses:     rooms.Deactivates,
	Handler:  route.Handle(home.Rooms, serveDeactivateAccount),
}

type deactivateAccountRequest struct {
	IDServer string             `json:"id_server"`
	Erase    bool               `json:"erase"`
	Auth     *accounts.AuthData `json:"auth"`
}

type deactivateAccountResponse struct {
	// IDServerUnbindResult is "success" where there is nothing to unbind, and no
	// account has third-party identifiers here.
	IDServerUnbindResult string `json:"id_server_unbind_result"`
}

func serveDeactivateAccount(ctx context.Context, s *rooms.Service, c route.Caller, req *deactivateAccountRequest) (*deactivateAccountResponse, error) {
	user, err := s.Accounts.Confirm(ctx, accounts.ByPassword("deactivateAccount", c.UserID, []any{req.IDServer, req.Erase}), req.Auth)
	if err != nil {
		return nil, err
	}
	if err := s.Deactivate(ctx, user, req.Erase); err != nil {
		return nil, err
	}
	return &deactivateAccountResponse{"success"}, nil
}
