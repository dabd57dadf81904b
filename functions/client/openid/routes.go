// Package openid answers users who want to prove to another service who they are.
// The service asks functions/federation/openid.
//
// https://spec.matrix.org/v1.19/client-server-api/#openid
package openid

import "github.com/virga-im/virga/shared/route"

// Routes are the routes.
var Routes = []route.Route{
	requestOpenIDToken,
}
