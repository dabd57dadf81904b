package membership

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// inviteUser invites a user by user id.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
var inviteUser = route.Route{
	Name:    "inviteUser",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/invite",
	Also:    route.R0,
	Limit:   route.LimitJoin,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveInviteUser),
}

func serveInviteUser(ctx context.Context, s *rooms.Service, c route.Caller, req *target) (*route.Empty, error) {
	return &route.Empty{}, s.Invite(ctx, req.RoomID, req.by(c))
}
