package participation

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// getEvents tells clients of before /sync what is new, and waits for something to
// be new. With a room it is peekEvents, for that room alone, which the caller need
// not have joined.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
var getEvents = route.Route{
	Name:    "getEvents",
	Pattern: "GET /_matrix/client/v3/events",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Size:    route.Waiting,
	Uses:    timeline.Syncs,
	Handler: route.Poll(home.Timeline, lookEvents),
}

type getEventsRequest struct {
	From    string  `query:"from"`
	Timeout *int64  `query:"timeout"`
	RoomID  *string `query:"room_id"`

	looked bool
}

// Waits says what wakes the client. The specification has no default for the
// timeout, and clients that send none mean to wait.
func (r *getEventsRequest) Waits(c route.Caller) ([]string, time.Duration) {
	timeout := 5 * time.Second
	if r.Timeout != nil {
		timeout = time.Duration(min(max(*r.Timeout, 0), 1<<31)) * time.Millisecond
	}
	return []string{userlog.WakeKey(c.UserID)}, timeout
}

// Resumed says that the client has looked before it went to wait.
func (r *getEventsRequest) Resumed() { r.looked = true }

func lookEvents(ctx context.Context, s *timeline.Service, c route.Caller, req *getEventsRequest) (*timeline.EventStream, bool, error) {
	if req.RoomID != nil {
		return s.Peek(ctx, viewer(c), *req.RoomID, req.From)
	}
	_, timeout := req.Waits(c)
	sync := timeline.SyncRequest{Since: req.From, Timeout: timeout}
	if !req.looked {
		sync.Presence = timeline.Online
	}
	req.looked = true
	return s.Stream(ctx, viewer(c), sync)
}
