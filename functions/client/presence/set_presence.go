package presence

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// setPresence says whether the user is there. Where presence is turned off it is
// accepted and forgotten: clients send it unasked, and show an error as a broken
// server.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
var setPresence = route.Route{
	Name:     "setPresence",
	Pattern:  "PUT /_matrix/client/v3/presence/{userId}/status",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     timeline.SetsPresence,
	Handler:  route.Handle(home.Timeline, serveSetPresence),
}

type setPresenceRequest struct {
	UserID    string `path:"userId"`
	Presence  string `json:"presence" required:"true"`
	StatusMsg string `json:"status_msg"`
}

func serveSetPresence(ctx context.Context, s *timeline.Service, c route.Caller, req *setPresenceRequest) (*route.Empty, error) {
	if c.UserID != req.UserID {
		return nil, mxerr.Forbidden("You cannot set the presence of %s.", req.UserID)
	}
	if c.Suspended && req.StatusMsg != "" {
		return nil, mxerr.UserSuspended() // others would read it
	}
	v := timeline.Viewer{User: c.UserID, Device: c.DeviceID}
	return &route.Empty{}, s.SetPresence(ctx, v, req.Presence, req.StatusMsg)
}
