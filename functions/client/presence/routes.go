// Package presence answers who is online. This server does not keep presence
// yet, and says so in the way that clients accept: nobody is known to be online.
//
// https://spec.matrix.org/v1.19/client-server-api/#presence
package presence

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{setPresence, getPresence}
