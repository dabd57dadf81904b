package markers

import (
	"context"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// setReadMarker says up to where the user has read everything in a room, and with
// it how far the user has read.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
var setReadMarker = route.Route{
	Name:     "setReadMarker",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/read_markers",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     grant.Of(rooms.SetsReceipts, timeline.SetsPresence),
	Handler:  route.Handle(home.Rooms, serveSetReadMarker),
}

type setReadMarkerRequest struct {
	RoomID      string  `path:"roomId"`
	FullyRead   *string `json:"m.fully_read"`
	Read        *string `json:"m.read"`
	ReadPrivate *string `json:"m.read.private"`
}

func serveSetReadMarker(ctx context.Context, s *rooms.Service, c route.Caller, req *setReadMarkerRequest) (*route.Empty, error) {
	defer s.Timeline.Acted(ctx, c.UserID, c.DeviceID)
	var list []rooms.Receipt
	for _, r := range []struct {
		typ string
		id  *string
	}{{rooms.FullyRead, req.FullyRead}, {rooms.Read, req.Read}, {rooms.ReadPrivate, req.ReadPrivate}} {
		if r.id != nil {
			list = append(list, rooms.Receipt{Type: r.typ, EventID: *r.id})
		}
	}
	return &route.Empty{}, s.SetReceipts(ctx, c.UserID, req.RoomID, list)
}
