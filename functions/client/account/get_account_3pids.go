package account

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getAccount3PIDs lists the third-party identifiers of an account. No account has
// any, since there is no way to add one.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
var getAccount3PIDs = route.Route{
	Name:    "getAccount3PIDs",
	Pattern: "GET /_matrix/client/v3/account/3pid",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.Accounts, serveGetAccount3PIDs),
}

type getAccount3PIDsResponse struct {
	ThreePIDs []struct{} `json:"threepids"`
}

func serveGetAccount3PIDs(context.Context, *accounts.Service, route.Caller, *route.Empty) (*getAccount3PIDsResponse, error) {
	return &getAccount3PIDsResponse{[]struct{}{}}, nil
}
