// Package presence answers who is online.
//
// https://spec.matrix.org/v1.19/client-server-api/#presence
package presence

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{setPresence, getPresence}
