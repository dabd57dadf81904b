package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/userlog"
)

// forgetRoom hides a room that the requesting user has left.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
var forgetRoom = route.Route{
	Name:     "forgetRoom",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/forget",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     userlog.Appends,
	Handler:  route.Handle(home.Rooms, serveForgetRoom),
}

type forgetRoomRequest struct {
	RoomID string `path:"roomId"`
}

func serveForgetRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *forgetRoomRequest) (*route.Empty, error) {
	return &route.Empty{}, s.Forget(ctx, c.UserID, req.RoomID)
}
