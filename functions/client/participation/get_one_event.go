package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getOneEvent returns a single event, of whatever room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
var getOneEvent = route.Route{
	Name:    "getOneEvent",
	Pattern: "GET /_matrix/client/v3/events/{eventId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetOneEvent),
}

type getOneEventRequest struct {
	EventID string `path:"eventId"`
}

func serveGetOneEvent(ctx context.Context, s *timeline.Service, c route.Caller, req *getOneEventRequest) (*json.RawMessage, error) {
	event, err := s.EventAnywhere(ctx, viewer(c), req.EventID)
	return &event, err
}
