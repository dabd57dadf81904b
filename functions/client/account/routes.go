// Package account answers what users do with their accounts: the password, the
// end, and what else belongs to an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-management
package account

import "github.com/virga-im/virga/shared/route"

// Routes are the routes in the order of the specification.
var Routes = []route.Route{
	requestTokenToRegisterEmail,
	requestTokenToRegisterMSISDN,
	changePassword,
	deactivateAccount,
	requestTokenToResetPasswordEmail,
	requestTokenToResetPasswordMSISDN,
	getAccount3PIDs,
	requestTokenTo3PIDEmail,
	requestTokenTo3PIDMSISDN,
}
