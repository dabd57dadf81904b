package threads

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getThreadRoots pages through the threads of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
var getThreadRoots = route.Route{
	Name:    "getThreadRoots",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/threads",
	Also:    route.Also{"/_matrix/client/unstable/org.matrix.msc3856/rooms/{roomId}/threads"},
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetThreadRoots),
}

type getThreadRootsRequest struct {
	RoomID  string `path:"roomId"`
	Include string `query:"include"`
	Limit   *int   `query:"limit"`
	From    string `query:"from"`
}

func serveGetThreadRoots(ctx context.Context, s *timeline.Service, c route.Caller, req *getThreadRootsRequest) (*timeline.ThreadsResponse, error) {
	switch req.Include {
	case "", "all", "participated":
	default:
		return nil, mxerr.InvalidParam("include is all or participated, not %q.", req.Include)
	}
	limit := 20
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.Threads(ctx, timeline.Viewer{User: c.UserID, Device: c.DeviceID}, timeline.ThreadsRequest{
		Room: req.RoomID, Participated: req.Include == "participated", Limit: limit, From: req.From,
	})
}
