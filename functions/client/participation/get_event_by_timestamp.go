package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getEventByTimestamp finds the event of a room that is closest to a time.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
var getEventByTimestamp = route.Route{
	Name:    "getEventByTimestamp",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event",
	Also:    route.Also{"/_matrix/client/unstable/org.matrix.msc3030/rooms/{roomId}/timestamp_to_event"},
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetEventByTimestamp),
}

type getEventByTimestampRequest struct {
	RoomID string `path:"roomId"`
	TS     int64  `query:"ts" required:"true"`
	Dir    string `query:"dir" required:"true"`
}

func serveGetEventByTimestamp(ctx context.Context, s *timeline.Service, c route.Caller, req *getEventByTimestampRequest) (*timeline.TimedEvent, error) {
	if req.Dir != "b" && req.Dir != "f" {
		return nil, mxerr.InvalidParam("dir is b or f, not %q.", req.Dir)
	}
	return s.EventByTime(ctx, viewer(c), req.RoomID, req.TS, req.Dir == "b")
}
