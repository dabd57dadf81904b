// Package directory answers which aliases rooms have.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-aliases
package directory

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	setRoomAlias,
	getRoomIDByAlias,
	deleteRoomAlias,
	getLocalAliases,
}
