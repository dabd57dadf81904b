// Package thirdparty answers clients that look for users and rooms of other
// networks. Application services are what knows them, and there are none yet: the
// answers are what the specification has for a server that finds nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
package thirdparty

import (
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	queryLocationByAlias,
	queryLocationByProtocol,
	getProtocolMetadata,
	getProtocols,
	queryUserByID,
	queryUserByProtocol,
}

// noProtocol is the answer to questions about a protocol.
func noProtocol(protocol string) error {
	return mxerr.NotFound("This server has no bridge to %q.", protocol)
}
