// Package openid tells services who a user is that proves it to them.
//
// https://spec.matrix.org/v1.19/server-server-api/#openid
package openid

import "github.com/virga-im/virga/shared/route"

// Routes are the routes.
var Routes = []route.Route{
	exchangeOpenIDToken,
}
