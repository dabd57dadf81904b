package userdirectory

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// searchUserDirectory finds users whom the requesting user may know of. One finds
// oneself only in public rooms, as with other servers.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
var searchUserDirectory = route.Route{
	Name:     "searchUserDirectory",
	Pattern:  "POST /_matrix/client/v3/user_directory/search",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Size:     route.Large,
	Uses:     timeline.Shows,
	Handler:  route.Handle(home.Timeline, serveSearchUserDirectory),
}

type searchUserDirectoryRequest struct {
	Term  string `json:"search_term" required:"true"`
	Limit *int   `json:"limit"`
}

type searchUserDirectoryResponse struct {
	Results []foundUser `json:"results"`
	Limited bool        `json:"limited"`
}

type foundUser struct {
	UserID      string `json:"user_id"`
	DisplayName string `json:"display_name,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

func serveSearchUserDirectory(ctx context.Context, s *timeline.Service, c route.Caller, req *searchUserDirectoryRequest) (*searchUserDirectoryResponse, error) {
	limit := 10
	if req.Limit != nil {
		if limit = *req.Limit; limit < 0 {
			return nil, mxerr.InvalidParam("limit must not be negative.")
		}
	}
	found, limited, err := s.FindUsers(ctx, c.UserID, req.Term, limit)
	resp := &searchUserDirectoryResponse{Results: make([]foundUser, len(found)), Limited: limited}
	for i, f := range found {
		resp.Results[i] = foundUser{f.User, f.Profile.DisplayName(), f.Profile.AvatarURL()}
	}
	return resp, err
}
