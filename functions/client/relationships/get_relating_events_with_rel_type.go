package relationships

import (
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRelatingEventsWithRelType pages through the children of an event that relate
// to it in one way.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype
var getRelatingEventsWithRelType = route.Route{
	Name:    "getRelatingEventsWithRelType",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}",
	Also:    route.Also{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}"},
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetRelatingEvents),
}
