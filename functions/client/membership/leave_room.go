package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// leaveRoom lets the requesting user leave a room, or refuse an invite.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
var leaveRoom = route.Route{
	Name:     "leaveRoom",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/leave",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     rooms.Writes,
	Handler:  route.Handle(home.Rooms, serveLeaveRoom),
}

type leaveRoomRequest struct {
	RoomID string `path:"roomId"`
	Reason string `json:"reason"`
}

func serveLeaveRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *leaveRoomRequest) (*route.Empty, error) {
	return &route.Empty{}, s.Leave(ctx, c.UserID, req.RoomID, req.Reason)
}
