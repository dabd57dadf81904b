// Package search answers what was said.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-side-search
package search

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{search}
