package thirdparty

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// queryLocationByProtocol finds the rooms that lead to a place of another network.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocationprotocol
var queryLocationByProtocol = route.Route{
	Name:    "queryLocationByProtocol",
	Pattern: "GET /_matrix/client/v3/thirdparty/location/{protocol}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveQueryLocationByProtocol),
}

type queryLocationByProtocolRequest struct {
	Protocol string `path:"protocol"`
}

func serveQueryLocationByProtocol(_ context.Context, _ *home.Self, _ route.Caller, req *queryLocationByProtocolRequest) (*[]struct{}, error) {
	return nil, noProtocol(req.Protocol)
}
