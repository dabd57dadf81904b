// Package backup answers about server-side backups of room keys. There are none
// on this server yet.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
package backup

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{getRoomKeysVersionCurrent}
