// Package registration answers registration by shared secret, as Synapse does it
// and register_new_matrix_user uses it. It is not part of the specification.
//
// https://element-hq.github.io/synapse/latest/admin_api/register_api.html
package registration

import "github.com/virga-im/virga/shared/route"

// Routes are the routes.
var Routes = []route.Route{
	getRegistrationNonce,
	registerBySharedSecret,
}
