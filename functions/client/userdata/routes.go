// Package userdata answers what clients keep with an account: the specification's
// client config, and its room tags. Profiles, which concern rooms, are not here.
//
// https://spec.matrix.org/v1.19/client-server-api/#client-config
package userdata

import (
	"net/http"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	setAccountData,
	getAccountData,
	setAccountDataPerRoom,
	getAccountDataPerRoom,
	getRoomTags,
	deleteRoomTag,
	setRoomTag,
}

// mayAccess says who may read and write account data: its owner.
func mayAccess(c route.Caller, user string) error {
	if c.UserID != user {
		return mxerr.Forbidden("The account data of %s is not yours.", user)
	}
	return nil
}

// maySet refuses the types that the server manages.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-1
func maySet(typ string) error {
	if typ == "m.fully_read" || typ == "m.push_rules" {
		return mxerr.New(http.StatusMethodNotAllowed, "M_BAD_JSON", "%s cannot be set as account data; it has an endpoint of its own.", typ)
	}
	return nil
}

func validRoom(room string) error {
	if !id.ValidRoom(room) {
		return mxerr.InvalidParam("%q is not a room id.", room)
	}
	return nil
}
