package participation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// postReceipt says how far the user has read a room, or a thread of it.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
var postReceipt = route.Route{
	Name:     "postReceipt",
	Pattern:  "POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     grant.Of(rooms.SetsReceipts, timeline.SetsPresence),
	Handler:  route.Handle(home.Rooms, servePostReceipt),
}

type postReceiptRequest struct {
	RoomID   string          `path:"roomId"`
	Type     string          `path:"receiptType"`
	EventID  string          `path:"eventId"`
	ThreadID json.RawMessage `json:"thread_id"`
}

func servePostReceipt(ctx context.Context, s *rooms.Service, c route.Caller, req *postReceiptRequest) (*route.Empty, error) {
	switch req.Type {
	case rooms.Read, rooms.ReadPrivate, rooms.FullyRead:
	default:
		return nil, mxerr.InvalidParam("A receipt is of type %s, %s or %s.", rooms.Read, rooms.ReadPrivate, rooms.FullyRead)
	}
	r := rooms.Receipt{Type: req.Type, EventID: req.EventID}
	if req.ThreadID != nil {
		if req.Type == rooms.FullyRead {
			return nil, mxerr.InvalidParam("%s is for a whole room, and takes no thread_id.", rooms.FullyRead)
		}
		if err := json.Unmarshal(req.ThreadID, &r.Thread); err != nil || r.Thread == "" || len(r.Thread) > maxThreadID {
			return nil, mxerr.InvalidParam("thread_id must be the id of an event, or main.")
		}
	}
	defer s.Timeline.Acted(ctx, c.UserID, c.DeviceID)
	return &route.Empty{}, s.SetReceipts(ctx, c.UserID, req.RoomID, []rooms.Receipt{r})
}

// maxThreadID is the length of the longest event id, in bytes.
const maxThreadID = 255
