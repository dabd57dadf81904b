package relationships

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRelatingEvents pages through the children of an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid
var getRelatingEvents = route.Route{
	Name:    "getRelatingEvents",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}",
	Also:    route.Also{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}"},
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetRelatingEvents),
}

type getRelatingEventsRequest struct {
	RoomID  string `path:"roomId"`
	EventID string `path:"eventId"`
	// The types are in the paths of the other two.
	RelType   string `path:"relType"`
	EventType string `path:"eventType"`
	From      string `query:"from"`
	To        string `query:"to"`
	Limit     *int   `query:"limit"`
	Dir       string `query:"dir"`
	Recurse   bool   `query:"recurse"`
}

func serveGetRelatingEvents(ctx context.Context, s *timeline.Service, c route.Caller, req *getRelatingEventsRequest) (*timeline.RelationsResponse, error) {
	if req.Dir != "" && req.Dir != "b" && req.Dir != "f" {
		return nil, mxerr.InvalidParam("dir is b or f, not %q.", req.Dir)
	}
	limit := 20
	if req.Limit != nil {
		limit = *req.Limit
	}
	return s.Relations(ctx, timeline.Viewer{User: c.UserID, Device: c.DeviceID}, timeline.RelationsRequest{
		Room: req.RoomID, EventID: req.EventID, RelType: req.RelType, EventType: req.EventType,
		Backwards: req.Dir != "f", From: req.From, To: req.To, Limit: limit, Recurse: req.Recurse,
	})
}
