// Package registration answers how an account comes to be: the specification's
// "Account registration" and registration tokens. What a new user needs to log in
// again is in package session.
//
// https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
package registration

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	registrationTokenValidity,
	register,
	checkUsernameAvailability,
}
