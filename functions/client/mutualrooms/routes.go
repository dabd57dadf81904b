// Package mutualrooms answers which rooms two users share.
//
// https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
package mutualrooms

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{getMutualRooms}
