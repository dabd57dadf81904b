// Package participation answers what happens in rooms: events, state, and /sync.
//
// https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
package participation

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	defineFilter,
	getFilter,
	sync,
	getEventContext,
	getOneRoomEvent,
	getEventByTimestamp,
	getRoomStateWithKey,
	getRoomState,
	getMembersByRoom,
	getJoinedMembersByRoom,
	getRoomEvents,
	setRoomStateWithKey,
	sendMessage,
	redactEvent,
	setTyping,
	postReceipt,
	getEvents,
	initialSync,
	getOneEvent,
	roomInitialSync,
}
