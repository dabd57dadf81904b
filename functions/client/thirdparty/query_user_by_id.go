package thirdparty

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// queryUserByID lists the users of other networks that a user id stands for.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuser
var queryUserByID = route.Route{
	Name:    "queryUserByID",
	Pattern: "GET /_matrix/client/v3/thirdparty/user",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveQueryUserByID),
}

type queryUserByIDRequest struct {
	UserID string `query:"userid" required:"true"`
}

func serveQueryUserByID(_ context.Context, _ *home.Self, _ route.Caller, req *queryUserByIDRequest) (*[]struct{}, error) {
	if !id.ValidUser(req.UserID) {
		return nil, mxerr.InvalidParam("%q is not a user id.", req.UserID)
	}
	return &[]struct{}{}, nil
}
