package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenToResetPasswordMSISDN knows no account with the phone number.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordmsisdnrequesttoken
var requestTokenToResetPasswordMSISDN = route.Route{
	Name:    "requestTokenToResetPasswordMSISDN",
	Pattern: "POST /_matrix/client/v3/account/password/msisdn/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenToResetPasswordMSISDN),
}

func serveRequestTokenToResetPasswordMSISDN(context.Context, *home.Self, route.Caller, *phoneToken) (*route.Empty, error) {
	return nil, resetsBy(phone)
}
