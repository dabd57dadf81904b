package relationships

import (
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// getRelatingEventsWithRelTypeAndEventType pages through the children of an event
// that are of one type and relate to it in one way.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
var getRelatingEventsWithRelTypeAndEventType = route.Route{
	Name:    "getRelatingEventsWithRelTypeAndEventType",
	Pattern: "GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
	Also:    route.Also{"/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}"},
	Uses:    timeline.Shows,
	Handler: route.Handle(home.Timeline, serveGetRelatingEvents),
}
