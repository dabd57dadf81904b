package profile

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// deleteProfileField removes a field from the requesting user's profile.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
var deleteProfileField = route.Route{
	Name:    "deleteProfileField",
	Pattern: "DELETE /_matrix/client/v3/profile/{userId}/{keyName}",
	Also:    alsoField,
	Limit:   route.LimitRequest,
	Uses:    rooms.Writes,
	Handler: route.Handle(home.Rooms, serveDeleteProfileField),
}

type deleteProfileFieldRequest struct {
	UserID  string `path:"userId"`
	KeyName string `path:"keyName"`

	Propagate         *bool `query:"propagate"`
	PropagateUnstable *bool `query:"org.matrix.msc4069.propagate"`
}

func serveDeleteProfileField(ctx context.Context, s *rooms.Service, c route.Caller, req *deleteProfileFieldRequest) (*route.Empty, error) {
	if err := mayChange(c, req.UserID); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.DeleteProfileField(ctx, c.UserID, req.KeyName, propagates(req.Propagate, req.PropagateUnstable))
}
