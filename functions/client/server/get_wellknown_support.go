package server

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getWellknownSupport tells users how to reach the administrator.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
var getWellknownSupport = route.Route{
	Name:    "getWellknownSupport",
	Pattern: "GET /.well-known/matrix/support",
	Auth:    route.Public,
	Handler: route.Handle(home.About, serveGetWellknownSupport),
}

type getWellknownSupportResponse struct {
	Contacts    []supportContact `json:"contacts,omitempty"`
	SupportPage string           `json:"support_page,omitempty"`
}

type supportContact struct {
	MatrixID     string `json:"matrix_id,omitempty"`
	EmailAddress string `json:"email_address,omitempty"`
	Role         string `json:"role"`
}

func serveGetWellknownSupport(_ context.Context, about *home.Self, _ route.Caller, _ *route.Empty) (*getWellknownSupportResponse, error) {
	c := about.Config
	resp := &getWellknownSupportResponse{SupportPage: c.SupportPage}
	if c.SupportMXID != "" || c.SupportEmail != "" {
		resp.Contacts = []supportContact{{MatrixID: c.SupportMXID, EmailAddress: c.SupportEmail, Role: "m.role.admin"}}
	}
	if resp.Contacts == nil && resp.SupportPage == "" {
		return nil, mxerr.NotFound("The administrator has not said how to be reached.")
	}
	return resp, nil
}
