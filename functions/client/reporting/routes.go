// Package reporting answers users who report what they find inappropriate.
// Administrators read the reports at functions/admin/reports.
//
// https://spec.matrix.org/v1.19/client-server-api/#reporting-content
package reporting

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	reportRoom,
	reportEvent,
	reportUser,
}
