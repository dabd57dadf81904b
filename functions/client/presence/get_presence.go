package presence

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getPresence tells a user of the presence of another one.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
var getPresence = route.Route{
	Name:    "getPresence",
	Pattern: "GET /_matrix/client/v3/presence/{userId}/status",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.ShowsPresence,
	Handler: route.Handle(home.Timeline, serveGetPresence),
}

type getPresenceRequest struct {
	UserID string `path:"userId"`
}

func serveGetPresence(ctx context.Context, s *timeline.Service, c route.Caller, req *getPresenceRequest) (*timeline.PresenceContent, error) {
	return s.Presence(ctx, c.UserID, req.UserID)
}
