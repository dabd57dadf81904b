package session

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getLoginFlows tells how users can log in.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
var getLoginFlows = route.Route{
	Name:    "getLoginFlows",
	Pattern: "GET /_matrix/client/v3/login",
	Also:    route.R0,
	Auth:    route.Public,
	Limit:   route.LimitAddress,
	Handler: route.Handle(home.Accounts, serveGetLoginFlows),
}

type getLoginFlowsResponse struct {
	Flows []loginFlow `json:"flows"`
}

type loginFlow struct {
	Type string `json:"type"`
	// GetLoginToken says that a logged-in client can get the token of m.login.token.
	GetLoginToken bool `json:"get_login_token,omitempty"`
}

func serveGetLoginFlows(context.Context, *accounts.Service, route.Caller, *route.Empty) (*getLoginFlowsResponse, error) {
	return &getLoginFlowsResponse{[]loginFlow{{Type: "m.login.password"}, {Type: "m.login.token", GetLoginToken: true}}}, nil
}
