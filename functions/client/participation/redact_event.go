package participation

import (
	"context"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// redactEvent strips an event of its content. A suspended user may do so to the own
// events.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
var redactEvent = route.Route{
	Name:     "redactEvent",
	Pattern:  "PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitMessage,
	Uses:     grant.Of(rooms.Writes, timeline.SetsPresence),
	Handler:  route.Handle(home.Rooms, serveRedactEvent),
}

type redactEventRequest struct {
	RoomID  string `path:"roomId"`
	EventID string `path:"eventId"`
	TxnID   string `path:"txnId"`
	Reason  string `json:"reason"`
}

func serveRedactEvent(ctx context.Context, s *rooms.Service, c route.Caller, req *redactEventRequest) (*sentResponse, error) {
	if c.Suspended {
		if err := s.CheckOwn(ctx, c.UserID, req.RoomID, req.EventID); err != nil {
			return nil, err
		}
	}
	defer s.Timeline.Acted(ctx, c.UserID, c.DeviceID)
	txn := rooms.Txn{Device: c.DeviceID, Endpoint: "redact", ID: req.TxnID}
	sent, err := s.Redact(ctx, req.RoomID, req.EventID, req.Reason, c.UserID, txn)
	if err != nil {
		return nil, err
	}
	return &sentResponse{sent.ID}, nil
}
