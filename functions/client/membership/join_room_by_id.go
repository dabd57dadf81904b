package membership

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// joinRoomByID lets the requesting user join a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin
var joinRoomByID = route.Route{
	Name:    "joinRoomById",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/join",
	Also:    route.R0,
	Limit:   route.LimitJoin,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveJoinRoomByID),
}

type joinRoomByIDRequest struct {
	RoomID           string          `path:"roomId"`
	Reason           string          `json:"reason"`
	ThirdPartySigned json.RawMessage `json:"third_party_signed"`
	Body             json.RawMessage `body:"json,optional"`
}

type joinResponse struct {
	RoomID string `json:"room_id"`
}

func serveJoinRoomByID(ctx context.Context, s *rooms.Service, c route.Caller, req *joinRoomByIDRequest) (*joinResponse, error) {
	if err := mayJoinBy3PID(req.ThirdPartySigned); err != nil {
		return nil, err
	}
	if err := s.JoinWith(ctx, c.UserID, req.RoomID, req.Reason, req.Body); err != nil {
		return nil, err
	}
	return &joinResponse{req.RoomID}, nil
}
