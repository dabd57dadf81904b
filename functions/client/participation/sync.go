package participation

import (
	"cmp"
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

	looked bool
}

// Waits says what wakes the client. A request that has no since or wants the
// full state is answered at once, whatever its timeout.
func (r *syncRequest) Waits(c route.Caller) ([]string, time.Duration) {
	return []string{userlog.WakeKey(c.UserID)}, time.Duration(min(max(r.Timeout, 0), 1<<31)) * time.Millisecond
}

// Resumed says that the client has looked before it went to wait.
func (r *syncRequest) Resumed() { r.looked = true }

func lookSync(ctx context.Context, s *timeline.Service, c route.Caller, req *syncRequest) (*timeline.SyncResponse, bool, error) {
	var presence string
	if !req.looked { // what is said meanwhile counts more
		presence = cmp.Or(req.SetPresence, timeline.Online)
	}
	req.looked = true
	switch presence {
	case "", timeline.Online, timeline.Offline, timeline.Unavailable:
	default:
		return nil, false, mxerr.InvalidParam("set_presence is online, offline or unavailable, not %q.", req.SetPresence)
	}
	_, timeout := req.Waits(c)
	return s.Sync(ctx, viewer(c), timeline.SyncRequest{
		Presence: presence, Timeout: timeout,
		Filter: req.Filter, Since: req.Since, FullState: req.FullState,
		StateAfter: req.StateAfter, StateAfterUnstable: req.StateAfterUnstable,
	})
}

func viewer(c route.Caller) timeline.Viewer {
	return timeline.Viewer{User: c.UserID, Device: c.DeviceID}
}
