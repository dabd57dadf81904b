package spaces

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getSpaceHierarchy pages through the rooms of a space and the spaces in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
var getSpaceHierarchy = route.Route{
	Name:    "getSpaceHierarchy",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/hierarchy",
	Also:    route.Also{"/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy"},
	Limit:   route.LimitRequest,
	Size:    route.Large,
	Uses:    timeline.WalksSpaces,
	Handler: route.Handle(home.Timeline, serveGetSpaceHierarchy),
}

type getSpaceHierarchyRequest struct {
	RoomID        string `path:"roomId"`
	SuggestedOnly bool   `query:"suggested_only"`
	Limit         *int   `query:"limit"`
	MaxDepth      *int   `query:"max_depth"`
	From          string `query:"from"`
}

func serveGetSpaceHierarchy(ctx context.Context, s *timeline.Service, c route.Caller, req *getSpaceHierarchyRequest) (*timeline.Hierarchy, error) {
	return s.Hierarchy(ctx, c.UserID, timeline.HierarchyRequest{
		Room: req.RoomID, Suggested: req.SuggestedOnly, Limit: req.Limit, MaxDepth: req.MaxDepth, From: req.From,
	})
}
