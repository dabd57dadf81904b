package summary

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRoomSummary tells what a room is like to those who may join it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
var getRoomSummary = route.Route{
	Name:    "getRoomSummary",
	Pattern: "GET /_matrix/client/v1/room_summary/{roomIdOrAlias}",
	Also: route.Also{
		"/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
		"/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
	},
	Auth:    route.Optional,
	Limit:   route.LimitRequest,
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Rooms, serveGetRoomSummary),
}

type getRoomSummaryRequest struct {
	RoomIDOrAlias string `path:"roomIdOrAlias"`
	// Via are servers to ask; for what is here none is asked, and there is no way
	// yet to ask about the rest.
	Via []string `query:"via"`
}

// getRoomSummaryResponse has some of the summary again by the names that it had
// before it was in the specification, which do not collide with the others.
type getRoomSummaryResponse struct {
	*timeline.RoomSummary
	OldRoomVersion string `json:"im.nheko.summary.room_version,omitempty"`
	OldVersion     string `json:"im.nheko.summary.version,omitempty"`
	OldEncryption  string `json:"im.nheko.summary.encryption,omitempty"`
}

func serveGetRoomSummary(ctx context.Context, s *rooms.Service, c route.Caller, req *getRoomSummaryRequest) (*getRoomSummaryResponse, error) {
	room, err := s.Resolve(ctx, req.RoomIDOrAlias)
	if err != nil {
		return nil, err
	}
	sum, err := s.Timeline.RoomSummary(ctx, c.UserID, room)
	if err != nil {
		return nil, err
	}
	return &getRoomSummaryResponse{sum, sum.Version, sum.Version, sum.Encryption}, nil
}
