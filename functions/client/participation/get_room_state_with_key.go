package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRoomStateWithKey returns one piece of a room's state. The state key may be
// left out, with or without the slash before it, and is empty then.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
var getRoomStateWithKey = route.Route{
	Name:    "getRoomStateWithKey",
	Pattern: "GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
	Also: route.R0.And(
		"/_matrix/client/v3/rooms/{roomId}/state/{eventType}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/",
		"/_matrix/client/r0/rooms/{roomId}/state/{eventType}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/",
	),
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetRoomStateWithKey),
}

type getRoomStateWithKeyRequest struct {
	RoomID   string `path:"roomId"`
	Type     string `path:"eventType"`
	StateKey string `path:"stateKey"`
	Format   string `query:"format"`
}

func serveGetRoomStateWithKey(ctx context.Context, s *timeline.Service, c route.Caller, req *getRoomStateWithKeyRequest) (*json.RawMessage, error) {
	if req.Format != "" && req.Format != "content" && req.Format != "event" {
		return nil, mxerr.InvalidParam("format is content or event, not %q.", req.Format)
	}
	event, err := s.StateEvent(ctx, viewer(c), req.RoomID, req.Type, req.StateKey, req.Format != "event")
	return &event, err
}
