package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// roomInitialSync returns a room as clients of before /sync know it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
var roomInitialSync = route.Route{
	Name:      "roomInitialSync",
	Pattern:   "GET /_matrix/client/v3/rooms/{roomId}/initialSync",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Size:      route.Large,
	Unbounded: true,
	Uses:      timeline.ShowsRooms,
	Handler:   route.Handle(home.Timeline, serveRoomInitialSync),
}

type roomInitialSyncRequest struct {
	RoomID string `path:"roomId"`
	Limit  *int   `query:"limit"`
}

func serveRoomInitialSync(ctx context.Context, s *timeline.Service, c route.Caller, req *roomInitialSyncRequest) (*timeline.RoomInfo, error) {
	limit := 10
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.RoomInitialSync(ctx, viewer(c), req.RoomID, limit)
}
