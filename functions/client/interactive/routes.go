// Package interactive answers user-interactive authentication outside of the
// endpoints that need it: the pages for clients that do not know a stage. What
// happens inside of them is accounts.Confirm.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
package interactive

import "github.com/virga-im/virga/shared/route"

// Routes are the routes. The second is where the page of the first sends its
// form.
var Routes = []route.Route{
	authFallback,
	completeAuthFallback,
}
