// Package markers answers how far a user has read: the specification's read
// markers.
//
// https://spec.matrix.org/v1.19/client-server-api/#read-and-unread-markers
package markers

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{setReadMarker}
