// Package server answers what the specification calls server administration and
// capabilities: what this server is, what it can do, and where it is.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-discovery
package server

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification. The last two are not
// in it.
var Routes = []route.Route{
	getVersions,
	getWellknown,
	getWellknownSupport,
	getAdminLockUser,
	setAdminLockUser,
	getAdminSuspendUser,
	setAdminSuspendUser,
	getWhoIs,
	getCapabilities,
	getTurnServer,
	health,
	welcome,
}
