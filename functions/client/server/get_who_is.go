package server

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getWhoIs tells users, and administrators of any user, from where an account is
// used.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid
var getWhoIs = route.Route{
	Name:    "getWhoIs",
	Pattern: "GET /_matrix/client/v3/admin/whois/{userId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.ReadsDevices,
	Handler: route.Handle(home.Accounts, serveGetWhoIs),
}

type getWhoIsRequest struct {
	UserID string `path:"userId"`
}

type getWhoIsResponse struct {
	UserID  string                 `json:"user_id"`
	Devices map[string]whoIsDevice `json:"devices"`
}

// whoIsDevice has one session with one connection: what is kept is the last one.
type whoIsDevice struct {
	Sessions []whoIsSession `json:"sessions"`
}

type whoIsSession struct {
	Connections []whoIsConnection `json:"connections"`
}

type whoIsConnection struct {
	IP        string `json:"ip,omitempty"`
	LastSeen  int64  `json:"last_seen"`
	UserAgent string `json:"user_agent,omitempty"`
}

func serveGetWhoIs(ctx context.Context, s *accounts.Service, c route.Caller, req *getWhoIsRequest) (*getWhoIsResponse, error) {
	switch {
	case req.UserID == c.UserID:
	case !c.Admin:
		return nil, mxerr.Forbidden("Only administrators of this server may do this.")
	case !s.IsLocal(req.UserID):
		return nil, mxerr.InvalidParam("%q is not a user of this server.", req.UserID)
	default:
		ok, err := s.Exists(ctx, req.UserID)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, mxerr.NotFound("There is no user %s on this server.", req.UserID)
		}
	}
	all, err := s.Devices(ctx, req.UserID)
	if err != nil {
		return nil, err
	}
	resp := &getWhoIsResponse{UserID: req.UserID, Devices: make(map[string]whoIsDevice, len(all))}
	for _, d := range all {
		last := whoIsConnection{d.LastIP, d.LastSeen.UnixMilli(), d.UserAgent}
		resp.Devices[d.ID] = whoIsDevice{[]whoIsSession{{[]whoIsConnection{last}}}}
	}
	return resp, nil
}
