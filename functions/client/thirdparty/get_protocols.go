package thirdparty

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getProtocols describes the networks that there are bridges to.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols
var getProtocols = route.Route{
	Name:    "getProtocols",
	Pattern: "GET /_matrix/client/v3/thirdparty/protocols",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveGetProtocols),
}

func serveGetProtocols(context.Context, *home.Self, route.Caller, *route.Empty) (*route.Empty, error) {
	return &route.Empty{}, nil
}
