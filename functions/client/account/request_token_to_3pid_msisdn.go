package account

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// requestTokenTo3PIDMSISDN refuses to add a phone number to an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken
var requestTokenTo3PIDMSISDN = route.Route{
	Name:    "requestTokenTo3PIDMSISDN",
	Pattern: "POST /_matrix/client/v3/account/3pid/msisdn/requestToken",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.About, serveRequestTokenTo3PIDMSISDN),
}

func serveRequestTokenTo3PIDMSISDN(context.Context, *home.Self, route.Caller, *phoneToken) (*route.Empty, error) {
	return nil, addsNo(phone)
}
