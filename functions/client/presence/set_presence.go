package presence

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// setPresence is accepted and forgotten, as servers do that have presence turned
// off: clients send it unasked and show an error as a broken server.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
var setPresence = route.Route{
	Name:    "setPresence",
	Pattern: "PUT /_matrix/client/v3/presence/{userId}/status",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveSetPresence),
}

type setPresenceRequest struct {
	UserID    string `path:"userId"`
	Presence  string `json:"presence" required:"true"`
	StatusMsg string `json:"status_msg"`
}

func serveSetPresence(_ context.Context, _ *home.Self, c route.Caller, req *setPresenceRequest) (*route.Empty, error) {
	if c.UserID != req.UserID {
		return nil, mxerr.Forbidden("You cannot set the presence of %s.", req.UserID)
	}
	switch req.Presence {
	case "online", "offline", "unavailable":
		return &route.Empty{}, nil
	}
	return nil, mxerr.InvalidParam("presence must be online, offline or unavailable.")
}
