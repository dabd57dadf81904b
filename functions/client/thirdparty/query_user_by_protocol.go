package thirdparty

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// queryUserByProtocol finds the user ids that stand for a user of another network.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuserprotocol
var queryUserByProtocol = route.Route{
	Name:    "queryUserByProtocol",
	Pattern: "GET /_matrix/client/v3/thirdparty/user/{protocol}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveQueryUserByProtocol),
}

type queryUserByProtocolRequest struct {
	Protocol string `path:"protocol"`
}

func serveQueryUserByProtocol(_ context.Context, _ *home.Self, _ route.Caller, req *queryUserByProtocolRequest) (*[]struct{}, error) {
	return nil, noProtocol(req.Protocol)
}
