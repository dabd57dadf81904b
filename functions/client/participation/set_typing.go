package participation

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// setTyping tells the others in a room that the requesting user types, or does
// not any more.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
var setTyping = route.Route{
	Name:    "setTyping",
	Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    grant.Of(timeline.Types, timeline.SetsPresence),
	Handler: route.Handle(home.Timeline, serveSetTyping),
}

type setTypingRequest struct {
	RoomID  string `path:"roomId"`
	UserID  string `path:"userId"`
	Typing  bool   `json:"typing" required:"true"`
	Timeout *int64 `json:"timeout"`
}

func serveSetTyping(ctx context.Context, s *timeline.Service, c route.Caller, req *setTypingRequest) (*route.Empty, error) {
	if c.UserID != req.UserID {
		return nil, mxerr.Forbidden("You cannot say that %s types.", req.UserID)
	}
	if req.Typing {
		defer s.Acted(ctx, c.UserID, c.DeviceID)
	}
	var timeout *time.Duration
	if req.Timeout != nil {
		d := time.Duration(min(max(*req.Timeout, -1), timeline.MaxTyping.Milliseconds())) * time.Millisecond
		timeout = &d
	}
	return &route.Empty{}, s.SetTyping(ctx, c.UserID, req.RoomID, req.Typing, timeout)
}
