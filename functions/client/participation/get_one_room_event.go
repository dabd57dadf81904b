package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getOneRoomEvent returns a single event of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
var getOneRoomEvent = route.Route{
	Name:    "getOneRoomEvent",
	Pattern: "GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetOneRoomEvent),
}

type getOneRoomEventRequest struct {
	RoomID  string `path:"roomId"`
	EventID string `path:"eventId"`
}

func serveGetOneRoomEvent(ctx context.Context, s *timeline.Service, c route.Caller, req *getOneRoomEventRequest) (*json.RawMessage, error) {
	event, err := s.OneEvent(ctx, viewer(c), req.RoomID, req.EventID)
	return &event, err
}
