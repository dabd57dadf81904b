package presence

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getPresence says offline of everybody.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
var getPresence = route.Route{
	Name:    "getPresence",
	Pattern: "GET /_matrix/client/v3/presence/{userId}/status",
	Also:    route.R0,
	Handler: route.Handle(home.About, serveGetPresence),
}

type getPresenceRequest struct {
	UserID string `path:"userId"`
}

type getPresenceResponse struct {
	Presence string `json:"presence"`
}

func serveGetPresence(_ context.Context, _ *home.Self, _ route.Caller, req *getPresenceRequest) (*getPresenceResponse, error) {
	if !id.ValidUser(req.UserID) {
		return nil, mxerr.InvalidParam("%q is not a user id.", req.UserID)
	}
	return &getPresenceResponse{"offline"}, nil
}
