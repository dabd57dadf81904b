package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenTo3PIDEmail refuses to add an e-mail address to an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
var requestTokenTo3PIDEmail = route.Route{
	Name:    "requestTokenTo3PIDEmail",
	Pattern: "POST /_matrix/client/v3/account/3pid/email/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenTo3PIDEmail),
}

func serveRequestTokenTo3PIDEmail(context.Context, *home.Self, route.Caller, *emailToken) (*route.Empty, error) {
	return nil, addsNo(email)
}
