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
