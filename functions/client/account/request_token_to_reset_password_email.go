package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenToResetPasswordEmail knows no account with the e-mail address.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken
var requestTokenToResetPasswordEmail = route.Route{
	Name:    "requestTokenToResetPasswordEmail",
	Pattern: "POST /_matrix/client/v3/account/password/email/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenToResetPasswordEmail),
}

func serveRequestTokenToResetPasswordEmail(context.Context, *home.Self, route.Caller, *emailToken) (*route.Empty, error) {
	return nil, resetsBy(email)
}
