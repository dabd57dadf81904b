package profile

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// setProfileField sets a field of the requesting user's profile.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
var setProfileField = route.Route{
	Name:    "setProfileField",
	Pattern: "PUT /_matrix/client/v3/profile/{userId}/{keyName}",
	Also:    alsoField,
	Limit:   route.LimitRequest,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveSetProfileField),
}

type setProfileFieldRequest struct {
	UserID  string          `path:"userId"`
	KeyName string          `path:"keyName"`
	Body    json.RawMessage `body:"json"`

	Propagate         *bool `query:"propagate"`
	PropagateUnstable *bool `query:"org.matrix.msc4069.propagate"`
}

func serveSetProfileField(ctx context.Context, s *rooms.Service, c route.Caller, req *setProfileFieldRequest) (*route.Empty, error) {
	if err := mayChange(c, req.UserID); err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(req.Body, &body); err != nil {
		return nil, mxerr.BadJSON("The body must be an object with the key %q.", req.KeyName)
	}
	value, ok := body[req.KeyName]
	if !ok {
		return nil, mxerr.MissingParam("The body must have the key %q, which the path names.", req.KeyName)
	}
	return &route.Empty{}, s.SetProfileField(ctx, c.UserID, req.KeyName, value, propagates(req.Propagate, req.PropagateUnstable))
}
