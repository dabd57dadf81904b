package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// initialSync returns all of a user's rooms as clients of before /sync know them.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
var initialSync = route.Route{
	Name:      "initialSync",
	Pattern:   "GET /_matrix/client/v3/initialSync",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Size:      route.Large,
	Unbounded: true,
	Uses:      timeline.Syncs,
	Handler:   route.Handle(home.Timeline, serveInitialSync),
}

type initialSyncRequest struct {
	Limit    *int `query:"limit"`
	Archived bool `query:"archived"`
}

func serveInitialSync(ctx context.Context, s *timeline.Service, c route.Caller, req *initialSyncRequest) (*timeline.Initial, error) {
	limit := 10
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.InitialSync(ctx, viewer(c), limit, req.Archived)
}
