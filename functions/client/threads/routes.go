// Package threads answers which threads a room has.
//
// https://spec.matrix.org/v1.19/client-server-api/#threading
package threads

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getThreadRoots,
}
