// Package userdirectory answers who there is.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-directory
package userdirectory

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{searchUserDirectory}
