package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenToRegisterMSISDN refuses to send a message to somebody who wants to register.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registermsisdnrequesttoken
var requestTokenToRegisterMSISDN = route.Route{
	Name:    "requestTokenToRegisterMSISDN",
	Pattern: "POST /_matrix/client/v3/register/msisdn/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenToRegisterMSISDN),
}

func serveRequestTokenToRegisterMSISDN(context.Context, *home.Self, route.Caller, *phoneToken) (*route.Empty, error) {
	return nil, registersNo(phone)
}
