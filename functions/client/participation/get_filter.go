package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getFilter returns a filter as it was defined.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
var getFilter = route.Route{
	Name:    "getFilter",
	Pattern: "GET /_matrix/client/v3/user/{userId}/filter/{filterId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.ReadsFilters,
	Handler: route.Handle(home.Timeline, serveGetFilter),
}

type getFilterRequest struct {
	UserID   string `path:"userId"`
	FilterID string `path:"filterId"`
}

func serveGetFilter(ctx context.Context, s *timeline.Service, c route.Caller, req *getFilterRequest) (*json.RawMessage, error) {
	if req.UserID != c.UserID {
		return nil, mxerr.Forbidden("You may not read the filters of %s.", req.UserID)
	}
	filter, err := s.Filter(ctx, c.UserID, req.FilterID)
	return &filter, err
}
