// Package devices answers what a user's devices are, and ends them: the
// specification's device management.
//
// https://spec.matrix.org/v1.19/client-server-api/#device-management
package devices

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	deleteDevices,
	getDevices,
	deleteDevice,
	getDevice,
	updateDevice,
}
