package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// defineFilter keeps a filter for later requests.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
var defineFilter = route.Route{
	Name:     "defineFilter",
	Pattern:  "POST /_matrix/client/v3/user/{userId}/filter",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     timeline.DefinesFilters,
	Handler:  route.Handle(home.Timeline, serveDefineFilter),
}

type defineFilterRequest struct {
	UserID string          `path:"userId"`
	Filter json.RawMessage `body:"json"`
}

type defineFilterResponse struct {
	FilterID string `json:"filter_id"`
}

func serveDefineFilter(ctx context.Context, s *timeline.Service, c route.Caller, req *defineFilterRequest) (*defineFilterResponse, error) {
	if req.UserID != c.UserID {
		return nil, mxerr.Forbidden("You may not define filters for %s.", req.UserID)
	}
	filterID, err := s.DefineFilter(ctx, c.UserID, req.Filter)
	return &defineFilterResponse{filterID}, err
}
