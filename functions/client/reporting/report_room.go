package reporting

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/route"
)

// reportRoom reports a room, which the user need not be in. The answer is the same
// for rooms that there are not.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
var reportRoom = route.Route{
	Name:     "reportRoom",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/report",
	Also:     route.Also{"/_matrix/client/unstable/org.matrix.msc4151/rooms/{roomId}/report"},
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     moderation.Reports,
	Handler:  route.Handle(home.Moderation, serveReportRoom),
}

type reportRoomRequest struct {
	RoomID string `path:"roomId"`
	Reason string `json:"reason" required:"true"`
}

func serveReportRoom(ctx context.Context, s *moderation.Service, c route.Caller, req *reportRoomRequest) (*route.Empty, error) {
	return &route.Empty{}, s.ReportRoom(ctx, c.UserID, req.RoomID, req.Reason)
}
