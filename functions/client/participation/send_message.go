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

// sendMessage sends a message event to a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
var sendMessage = route.Route{
	Name:    "sendMessage",
	Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
	Also:    route.R0,
	Limit:   route.LimitMessage,
	Uses:    grant.Of(rooms.Writes, timeline.SetsPresence),
	Handler: route.Handle(home.Rooms, serveSendMessage),
}

type sendMessageRequest struct {
	RoomID  string          `path:"roomId"`
	Type    string          `path:"eventType"`
	TxnID   string          `path:"txnId"`
	Content json.RawMessage `body:"json"`
}

type sentResponse struct {
	EventID string `json:"event_id"`
}

func serveSendMessage(ctx context.Context, s *rooms.Service, c route.Caller, req *sendMessageRequest) (*sentResponse, error) {
	defer s.Timeline.Acted(ctx, c.UserID, c.DeviceID)
	txn := rooms.Txn{Device: c.DeviceID, Endpoint: "send", ID: req.TxnID}
	if req.Type == "m.room.redaction" {
		return sendRedaction(ctx, s, c, req, txn)
	}
	sent, err := s.Send(ctx, req.RoomID, rooms.Draft{Type: req.Type, Sender: c.UserID, Content: req.Content, Txn: txn})
	if err != nil {
		return nil, err
	}
	return &sentResponse{sent.ID}, nil
}

// sendRedaction lets clients redact by sending an m.room.redaction whose content
// names its target, as they may since room version 11.
func sendRedaction(ctx context.Context, s *rooms.Service, c route.Caller, req *sendMessageRequest, txn rooms.Txn) (*sentResponse, error) {
	var content struct {
		Redacts string `json:"redacts"`
		Reason  string `json:"reason"`
	}
	if json.Unmarshal(req.Content, &content) != nil || content.Redacts == "" {
		return nil, mxerr.BadJSON("A redaction names the event it redacts in the key \"redacts\".")
	}
	sent, err := s.Redact(ctx, req.RoomID, content.Redacts, content.Reason, c.UserID, txn)
	if err != nil {
		return nil, err
	}
	return &sentResponse{sent.ID}, nil
}
