package thirdparty

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// queryLocationByAlias lists the places of other networks that a room alias leads to.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocation
var queryLocationByAlias = route.Route{
	Name:    "queryLocationByAlias",
	Pattern: "GET /_matrix/client/v3/thirdparty/location",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveQueryLocationByAlias),
}

type queryLocationByAliasRequest struct {
	Alias string `query:"alias" required:"true"`
}

func serveQueryLocationByAlias(_ context.Context, _ *home.Self, _ route.Caller, req *queryLocationByAliasRequest) (*[]struct{}, error) {
	if !id.ValidAlias(req.Alias) {
		return nil, mxerr.InvalidParam("%q is not a room alias.", req.Alias)
	}
	return &[]struct{}{}, nil
}
