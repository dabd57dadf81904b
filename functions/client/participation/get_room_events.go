package participation

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRoomEvents pages through the history of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
var getRoomEvents = route.Route{
	Name:    "getRoomEvents",
	Pattern: "GET /_matrix/client/v3/rooms/{roomId}/messages",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetRoomEvents),
}

type getRoomEventsRequest struct {
	RoomID string `path:"roomId"`
	From   string `query:"from"`
	To     string `query:"to"`
	Dir    string `query:"dir" required:"true"`
	Limit  *int   `query:"limit"`
	Filter string `query:"filter"`
}

func serveGetRoomEvents(ctx context.Context, s *timeline.Service, c route.Caller, req *getRoomEventsRequest) (*timeline.MessagesResponse, error) {
	if req.Dir != "b" && req.Dir != "f" {
		return nil, mxerr.InvalidParam("dir is b or f, not %q.", req.Dir)
	}
	filter, err := timeline.ParseRoomEventFilter(req.Filter)
	if err != nil {
		return nil, err
	}
	limit := 10
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.Messages(ctx, viewer(c), timeline.MessagesRequest{
		Room: req.RoomID, Backwards: req.Dir == "b", From: req.From, To: req.To, Limit: limit, Filter: filter,
	})
}
