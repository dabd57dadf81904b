package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenToRegisterEmail refuses to send an e-mail to somebody who wants to register.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
var requestTokenToRegisterEmail = route.Route{
	Name:    "requestTokenToRegisterEmail",
	Pattern: "POST /_matrix/client/v3/register/email/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenToRegisterEmail),
}

func serveRequestTokenToRegisterEmail(context.Context, *home.Self, route.Caller, *emailToken) (*route.Empty, error) {
	return nil, registersNo(email)
}
