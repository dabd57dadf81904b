package participation

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// sync tells a client what is new since it last asked, and waits for something
// to be new.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
var sync = route.Route{
	Name:    "sync",
	Pattern: "GET /_matrix/client/v3/sync",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Size:    route.Waiting,
	Uses:    timeline.Syncs,
	Handler: route.Poll(home.Timeline, lookSync),
}

type syncRequest struct {
	Filter             string `query:"filter"`
	Since              string `query:"since"`
	FullState          bool   `query:"full_state"`
	SetPresence        string `query:"set_presence"`
	Timeout            int64  `query:"timeout"`
	StateAfter         bool   `query:"use_state_after"`
	StateAfterUnstable bool   `query:"org.matrix.msc4222.use_state_after"`
}

// Waits says what wakes the client. A request that has no since or wants the
// full state is answered at once, whatever its timeout.
func (r *syncRequest) Waits(c route.Caller) ([]string, time.Duration) {
	return []string{userlog.WakeKey(c.UserID)}, time.Duration(min(max(r.Timeout, 0), 1<<31)) * time.Millisecond
}

func lookSync(ctx context.Context, s *timeline.Service, c route.Caller, req *syncRequest) (*timeline.SyncResponse, bool, error) {
	switch req.SetPresence {
	case "", "online", "offline", "unavailable":
	default:
		return nil, false, mxerr.InvalidParam("set_presence is online, offline or unavailable, not %q.", req.SetPresence)
	}
	return s.Sync(ctx, viewer(c), timeline.SyncRequest{
		Filter: req.Filter, Since: req.Since, FullState: req.FullState,
		StateAfter: req.StateAfter, StateAfterUnstable: req.StateAfterUnstable,
	})
}

func viewer(c route.Caller) timeline.Viewer {
	return timeline.Viewer{User: c.UserID, Device: c.DeviceID}
}
