// Package reports shows administrators what users reported. It is not part of the
// specification, nor of Synapse, which has an endpoint for each kind of report.
package reports

import "github.com/virga-im/virga/shared/route"

// Routes are the routes.
var Routes = []route.Route{
	getReports,
}
