// Package spaces answers which rooms are in a space.
//
// https://spec.matrix.org/v1.19/client-server-api/#spaces
package spaces

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{getSpaceHierarchy}
