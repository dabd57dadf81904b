package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getEventContext returns an event with what happened around it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
var getEventContext = route.Route{
	Name:      "getEventContext",
	Pattern:   "GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Unbounded: true,
	Uses:      timeline.Shows,
	Handler:   route.Handle(home.Timeline, serveGetEventContext),
}

type getEventContextRequest struct {
	RoomID  string `path:"roomId"`
	EventID string `path:"eventId"`
	Limit   *int   `query:"limit"`
	Filter  string `query:"filter"`
}

func serveGetEventContext(ctx context.Context, s *timeline.Service, c route.Caller, req *getEventContextRequest) (*timeline.ContextResponse, error) {
	filter, err := timeline.ParseRoomEventFilter(req.Filter)
	if err != nil {
		return nil, err
	}
	limit := 10
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.Context(ctx, viewer(c), timeline.ContextRequest{Room: req.RoomID, EventID: req.EventID, Limit: limit, Filter: filter})
}
