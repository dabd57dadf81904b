package discovery

import (
	"context"

	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getPublicRooms lists the published rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
var getPublicRooms = route.Route{
	Name:    "getPublicRooms",
	Pattern: "GET /_matrix/client/v3/publicRooms",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitRequest,
	Uses:    directory.Lists,
	Handler: route.Handle(home.Directory, serveGetPublicRooms),
}

type getPublicRoomsRequest struct {
	Limit  *int   `query:"limit"`
	Since  string `query:"since"`
	Server string `query:"server"`
}

func serveGetPublicRooms(ctx context.Context, s *directory.Service, _ route.Caller, req *getPublicRoomsRequest) (*directory.Listings, error) {
	return search(ctx, s, req.Server, req.Limit, directory.Search{Since: req.Since})
}
