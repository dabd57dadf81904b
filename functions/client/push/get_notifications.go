package push

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getNotifications lists what notified the user.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
var getNotifications = route.Route{
	Name:    "getNotifications",
	Pattern: "GET /_matrix/client/v3/notifications",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    timeline.ListsNotifications,
	Handler: route.Handle(home.Timeline, serveGetNotifications),
}

type getNotificationsRequest struct {
	From  string `query:"from"`
	Limit *int   `query:"limit"`
	Only  string `query:"only"`
}

func serveGetNotifications(ctx context.Context, s *timeline.Service, c route.Caller, req *getNotificationsRequest) (*timeline.NotificationsResponse, error) {
	limit := 20
	if req.Limit != nil {
		limit = *req.Limit
	}
	if limit < 1 {
		return nil, mxerr.InvalidParam("limit is at least 1.")
	}
	if req.Only != "" && req.Only != "highlight" {
		return nil, mxerr.InvalidParam("only is highlight, not %q.", req.Only)
	}
	return s.NotificationList(ctx, timeline.Viewer{User: c.UserID, Device: c.DeviceID}, timeline.NotificationsRequest{
		From: req.From, Limit: limit, Highlights: req.Only == "highlight",
	})
}
