// Package profile answers what users show of themselves.
//
// https://spec.matrix.org/v1.19/client-server-api/#profiles
package profile

import (
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	getUserProfile,
	getProfileField,
	setProfileField,
	deleteProfileField,
}

// mayChange says who may change a profile: its owner.
func mayChange(c route.Caller, user string) error {
	if c.UserID != user {
		return mxerr.Forbidden("You cannot change the profile of %s.", user)
	}
	return nil
}

// alsoField are the spellings of clients from before Matrix 1.1, and from before
// 1.16.
var alsoField = route.R0.And("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}")

// propagates reports whether a change is shown in rooms, which is for the client
// to say (MSC4069): a display name may be another in each of them.
func propagates(stable, unstable *bool) bool {
	return (stable == nil || *stable) && (unstable == nil || *unstable)
}
