package devices

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// deleteDevices deletes several devices and ends their sessions. Those that are
// gone already are no reason to fail.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
var deleteDevices = route.Route{
	Name:     "deleteDevices",
	Pattern:  "POST /_matrix/client/v3/delete_devices",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Size:     route.Large, // hashes a password
	Uses:     accounts.ManagesSessions,
	Handler:  route.Handle(home.Accounts, serveDeleteDevices),
}

type deleteDevicesRequest struct {
	Devices []string           `json:"devices" required:"true"`
	Auth    *accounts.AuthData `json:"auth"`
}

func serveDeleteDevices(ctx context.Context, s *accounts.Service, c route.Caller, req *deleteDevicesRequest) (*route.Empty, error) {
	op := accounts.ByPassword("deleteDevices", c.UserID, req.Devices)
	if _, err := s.Confirm(ctx, op, req.Auth); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.DeleteDevices(ctx, c.UserID, c.DeviceID, req.Devices)
}
