package reporting

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// reportEvent reports an event of a room that the user is joined to. The score of
// older clients says nothing that a reason does not, and is ignored.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
var reportEvent = route.Route{
	Name:     "reportEvent",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     moderation.ReportsEvents,
	Handler:  route.Handle(home.Moderation, serveReportEvent),
}

type reportEventRequest struct {
	RoomID  string `path:"roomId"`
	EventID string `path:"eventId"`
	Reason  string `json:"reason"`
}

func serveReportEvent(ctx context.Context, s *moderation.Service, c route.Caller, req *reportEventRequest) (*route.Empty, error) {
	return &route.Empty{}, s.ReportEvent(ctx, timeline.Viewer{User: c.UserID, Device: c.DeviceID}, req.RoomID, req.EventID, req.Reason)
}
