package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRoomState returns the state events of a room: the current ones, or for
// somebody who left those of then.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
var getRoomState = route.Route{
	Name:      "getRoomState",
	Pattern:   "GET /_matrix/client/v3/rooms/{roomId}/state",
	Also:      route.R0,
	Limit:     route.LimitRequest,
	Size:      route.Large,
	Unbounded: true,
	Uses:      timeline.Shows,
	Handler:   route.Handle(home.Timeline, serveGetRoomState),
}

type getRoomStateRequest struct {
	RoomID string `path:"roomId"`
}

func serveGetRoomState(ctx context.Context, s *timeline.Service, c route.Caller, req *getRoomStateRequest) (*[]json.RawMessage, error) {
	events, err := s.State(ctx, viewer(c), req.RoomID)
	return &events, err
}
