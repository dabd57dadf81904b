package push

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/route"
)

// postPusher adds, replaces or deletes a pusher.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
var postPusher = route.Route{
	Name:     "postPusher",
	Pattern:  "POST /_matrix/client/v3/pushers/set",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     push.SetsPushers,
	Handler:  route.Handle(home.Push, servePostPusher),
}

type postPusherRequest struct {
	Kind       json.RawMessage `json:"kind"` // null deletes
	AppID      *string         `json:"app_id"`
	PushKey    *string         `json:"pushkey"`
	AppName    *string         `json:"app_display_name"`
	DeviceName *string         `json:"device_display_name"`
	Lang       *string         `json:"lang"`
	Data       json.RawMessage `json:"data"`
	ProfileTag string          `json:"profile_tag"`
	Append     bool            `json:"append"`
}

func servePostPusher(ctx context.Context, s *push.Service, c route.Caller, req *postPusherRequest) (*route.Empty, error) {
	if err := req.missing(); err != nil {
		return nil, err
	}
	if string(req.Kind) == "null" {
		return &route.Empty{}, s.DeletePusher(ctx, c.UserID, *req.AppID, *req.PushKey)
	}
	p := push.Pusher{
		AppID: *req.AppID, PushKey: *req.PushKey, AppName: *req.AppName, DeviceName: *req.DeviceName,
		Lang: *req.Lang, Data: req.Data, ProfileTag: req.ProfileTag,
	}
	if err := json.Unmarshal(req.Kind, &p.Kind); err != nil {
		return nil, mxerr.BadJSON("The kind of a pusher is a string, or null.")
	}
	return &route.Empty{}, s.SetPusher(ctx, c.Session, p, req.Append)
}

// missing names what the request lacks.
func (r *postPusherRequest) missing() error {
	var names []string
	need := func(name string, there bool) {
		if !there {
			names = append(names, name)
		}
	}
	need("kind", r.Kind != nil)
	need("app_id", r.AppID != nil)
	need("pushkey", r.PushKey != nil)
	if r.Kind != nil && string(r.Kind) != "null" {
		need("app_display_name", r.AppName != nil)
		need("device_display_name", r.DeviceName != nil)
		need("lang", r.Lang != nil)
		need("data", r.Data != nil && string(r.Data) != "null")
	}
	if len(names) > 0 {
		return mxerr.MissingParam("Missing parameters: %s", strings.Join(names, ", "))
	}
	return nil
}
