package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// setRoomStateWithKey sends a state event to a room. The state key may be left
// out, with or without the slash before it, and is empty then.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
var setRoomStateWithKey = route.Route{
	Name:    "setRoomStateWithKey",
	Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
	Also: route.R0.And(
		"/_matrix/client/v3/rooms/{roomId}/state/{eventType}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/",
		"/_matrix/client/r0/rooms/{roomId}/state/{eventType}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/",
	),
	Limit:   route.LimitMessage,
	Uses:    grant.Of(rooms.Writes, timeline.SetsPresence),
	Handler: route.Handle(home.Rooms, serveSetRoomStateWithKey),
}

type setRoomStateWithKeyRequest struct {
	RoomID   string          `path:"roomId"`
	Type     string          `path:"eventType"`
	StateKey string          `path:"stateKey"`
	Content  json.RawMessage `body:"json"`
}

// Weighs counts joins, knocks and invites as the endpoints do that are there for
// them.
func (r *setRoomStateWithKeyRequest) Weighs() (route.Limit, int) {
	if r.Type == "m.room.member" {
		var c struct {
			Membership string `json:"membership"`
		}
		_ = json.Unmarshal(r.Content, &c) // what cannot be read is refused later
		switch c.Membership {
		case "join", "knock", "invite":
			return route.LimitJoin, 1
		}
	}
	return route.NoLimit, 0
}

func serveSetRoomStateWithKey(ctx context.Context, s *rooms.Service, c route.Caller, req *setRoomStateWithKeyRequest) (*sentResponse, error) {
	defer s.Timeline.Acted(ctx, c.UserID, c.DeviceID)
	sent, err := s.SetState(ctx, req.RoomID, rooms.Draft{Type: req.Type, Sender: c.UserID, StateKey: &req.StateKey, Content: req.Content})
	if err != nil {
		return nil, err
	}
	return &sentResponse{sent.ID}, nil
}
