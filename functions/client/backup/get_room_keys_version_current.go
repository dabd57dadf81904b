package backup

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getRoomKeysVersionCurrent says that the user has no backup, which clients ask
// right after login and take for what it is.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion
var getRoomKeysVersionCurrent = route.Route{
	Name:    "getRoomKeysVersionCurrent",
	Pattern: "GET /_matrix/client/v3/room_keys/version",
	Also:    route.R0.And("/_matrix/client/unstable/room_keys/version"),
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveGetRoomKeysVersionCurrent),
}

func serveGetRoomKeysVersionCurrent(context.Context, *home.Self, route.Caller, *route.Empty) (*route.Empty, error) {
	return nil, mxerr.NotFound("There is no backup of your keys on this server.")
}
