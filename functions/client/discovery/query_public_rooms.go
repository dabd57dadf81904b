package discovery

import (
	"context"

	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// queryPublicRooms searches the published rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
var queryPublicRooms = route.Route{
	Name:     "queryPublicRooms",
	Pattern:  "POST /_matrix/client/v3/publicRooms",
	Also:     route.R0,
	Limit:    route.LimitRequest,
	Standing: route.SuspendedToo,
	Uses:     directory.Lists,
	Handler:  route.Handle(home.Directory, serveQueryPublicRooms),
}

type queryPublicRoomsRequest struct {
	Server string `query:"server"`
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Term  string    `json:"generic_search_term"`
		Types []*string `json:"room_types"` // null: those without a type
	} `json:"filter"`
	AllNetworks bool    `json:"include_all_networks"`
	Network     *string `json:"third_party_instance_id"`
}

func serveQueryPublicRooms(ctx context.Context, s *directory.Service, _ route.Caller, req *queryPublicRoomsRequest) (*directory.Listings, error) {
	if req.Network != nil && req.AllNetworks {
		return nil, mxerr.InvalidParam("third_party_instance_id names one network, and include_all_networks asks for all.")
	}
	q := directory.Search{Since: req.Since, Term: req.Filter.Term}
	for _, t := range req.Filter.Types {
		if t == nil {
			t = new(string)
		}
		q.Types = append(q.Types, *t)
	}
	page, err := search(ctx, s, req.Server, req.Limit, q)
	if err == nil && req.Network != nil {
		// Networks have lists of their own, which application services fill. There
		// are none.
		page = &directory.Listings{Chunk: []*directory.Listing{}}
	}
	return page, err
}
