package thirdparty

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getProtocolMetadata describes a network that there is a bridge to.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol
var getProtocolMetadata = route.Route{
	Name:    "getProtocolMetadata",
	Pattern: "GET /_matrix/client/v3/thirdparty/protocol/{protocol}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveGetProtocolMetadata),
}

type getProtocolMetadataRequest struct {
	Protocol string `path:"protocol"`
}

func serveGetProtocolMetadata(_ context.Context, _ *home.Self, _ route.Caller, req *getProtocolMetadataRequest) (*route.Empty, error) {
	return nil, noProtocol(req.Protocol)
}
