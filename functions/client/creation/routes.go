// Package creation answers requests for new rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#creation
package creation

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{createRoom}
