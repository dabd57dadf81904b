package reporting

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/route"
)

// reportUser reports a user. The answer is the same for users that there are not.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
var reportUser = route.Route{
	Name:     "reportUser",
	Pattern:  "POST /_matrix/client/v3/users/{userId}/report",
	Also:     route.Also{"/_matrix/client/unstable/org.matrix.msc4260/users/{userId}/report"},
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     moderation.Reports,
	Handler:  route.Handle(home.Moderation, serveReportUser),
}

type reportUserRequest struct {
	UserID string `path:"userId"`
	Reason string `json:"reason" required:"true"`
}

func serveReportUser(ctx context.Context, s *moderation.Service, c route.Caller, req *reportUserRequest) (*route.Empty, error) {
	return &route.Empty{}, s.ReportUser(ctx, c.UserID, req.UserID, req.Reason)
}
