// Package upgrades answers requests to replace rooms by ones of another version.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
package upgrades

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{upgradeRoom}
