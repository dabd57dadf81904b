// Package summary answers what a room is like before one joins it.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-summaries
package summary

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{getRoomSummary}
