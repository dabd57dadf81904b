// Package session answers how a client comes to have an access token, and how it
// gets rid of it: the specification's session management.
//
// https://spec.matrix.org/v1.19/client-server-api/#legacy-login
package session

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getLoginFlows,
	login,
	generateLoginToken,
	refresh,
	logout,
	logoutAll,
	loginFallback,
	getTokenOwner,
}
