// Package discovery answers which rooms are published.
//
// https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
package discovery

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getRoomVisibilityOnDirectory,
	setRoomVisibilityOnDirectory,
	getPublicRooms,
	queryPublicRooms,
}

// search is what both spellings of the request ask for.
func search(ctx context.Context, s *directory.Service, server string, limit *int, q directory.Search) (*directory.Listings, error) {
	switch {
	case server == "" || server == s.ServerName:
	case !id.ValidServer(server):
		return nil, mxerr.InvalidParam("%q is not the name of a server.", server)
	default:
		return nil, mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "This server does not speak to other servers yet, and cannot ask %s for its rooms.", server)
	}
	if limit != nil {
		if *limit < 0 {
			return nil, mxerr.InvalidParam("limit must not be negative.")
		}
		q.Limit = *limit
	}
	return s.Search(ctx, q)
}
