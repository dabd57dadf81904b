package membership

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// inviteUser invites a user by user id. It refuses to invite by e-mail address or
// phone number (inviteBy3PID): this server asks no identity server.
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

type inviteUserRequest struct {
	RoomID string `path:"roomId"`
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
	// Medium and Address stand in place of UserID.
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

func serveInviteUser(ctx context.Context, s *rooms.Service, c route.Caller, req *inviteUserRequest) (*route.Empty, error) {
	switch {
	case req.UserID != "":
	case req.Medium+req.Address != "":
		return nil, mxerr.New(http.StatusForbidden, "M_THREEPID_DENIED", "This server does not invite by e-mail address or phone number; use the Matrix id.")
	default:
		return nil, mxerr.MissingParam("The key \"user_id\" is missing from the body.")
	}
	t := target{RoomID: req.RoomID, UserID: req.UserID, Reason: req.Reason}
	return &route.Empty{}, s.Invite(ctx, req.RoomID, t.by(c))
}
