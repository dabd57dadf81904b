package reports

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// getReports lists what users reported, the latest days first.
var getReports = route.Route{
	Name:    "getReports",
	Pattern: "GET /_synapse/admin/v1/reports",
	Limit:   route.LimitRequest,
	Uses:    moderation.ReadsReports,
	Handler: route.Handle(home.Moderation, serveGetReports),
}

// maxLimit is how many reports an answer has, and defaultLimit unless asked for.
const (
	defaultLimit = 100
	maxLimit     = 500
)

type getReportsRequest struct {
	From  string `query:"from"`
	Limit int    `query:"limit"`
}

type getReportsResponse struct {
	Reports   []moderation.Report `json:"reports"`
	NextToken string              `json:"next_token,omitempty"`
}

func serveGetReports(ctx context.Context, s *moderation.Service, c route.Caller, req *getReportsRequest) (*getReportsResponse, error) {
	if !c.Admin {
		return nil, mxerr.Forbidden("Only administrators of this server may read reports.")
	}
	if req.Limit <= 0 {
		req.Limit = defaultLimit
	}
	if len(req.From) > 100 {
		return nil, mxerr.InvalidParam("The parameter \"from\" is not one that this server gave.")
	}
	reports, next, err := s.List(ctx, req.From, min(req.Limit, maxLimit))
	if err != nil {
		return nil, err
	}
	return &getReportsResponse{reports, next}, nil
}
