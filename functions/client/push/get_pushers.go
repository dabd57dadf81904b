package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// getPushers lists where the user's notifications are sent.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
var getPushers = route.Route{
	Name:    "getPushers",
	Pattern: "GET /_matrix/client/v3/pushers",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    push.Reads,
	Handler: route.Handle(home.Push, serveGetPushers),
}

type getPushersResponse struct {
	Pushers []push.Pusher `json:"pushers"`
}

func serveGetPushers(ctx context.Context, s *push.Service, c route.Caller, _ *route.Empty) (*getPushersResponse, error) {
	list, err := s.Pushers(ctx, c.UserID)
	return &getPushersResponse{list}, err
}
