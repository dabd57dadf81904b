// Package membership answers who is in which room: joining, inviting, leaving,
// and being kept out.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-membership
package membership

import (
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getJoinedRooms,
	inviteUser,
	joinRoomByID,
	joinRoom,
	knockRoom,
	forgetRoom,
	leaveRoom,
	kick,
	ban,
	unban,
}

// target is the request of one user about the membership of another.
type target struct {
	RoomID string `path:"roomId"`
	UserID string `json:"user_id" required:"true"`
	Reason string `json:"reason"`
}

func (t *target) by(c route.Caller) rooms.Membership {
	return rooms.Membership{Sender: c.UserID, Target: t.UserID, Reason: t.Reason}
}

// mayJoinBy3PID refuses what a third-party invite would need.
func mayJoinBy3PID(signed []byte) error {
	if len(signed) > 0 && string(signed) != "null" {
		return mxerr.Forbidden("This server does not accept invites by e-mail address or phone number.")
	}
	return nil
}
