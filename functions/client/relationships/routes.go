// Package relationships answers which events relate to an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
package relationships

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getRelatingEvents,
	getRelatingEventsWithRelType,
	getRelatingEventsWithRelTypeAndEventType,
}
