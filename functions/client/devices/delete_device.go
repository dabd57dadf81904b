package devices

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// deleteDevice deletes a device and ends its session. A device that is gone is
// deleted already.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
var deleteDevice = route.Route{
	Name:     "deleteDevice",
	Pattern:  "DELETE /_matrix/client/v3/devices/{deviceId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Size:     route.Large, // hashes a password
	Uses:     accounts.ManagesSessions,
	Handler:  route.Handle(home.Accounts, serveDeleteDevice),
}

type deleteDeviceRequest struct {
	DeviceID string             `path:"deviceId"`
	Auth     *accounts.AuthData `json:"auth"`
}

func serveDeleteDevice(ctx context.Context, s *accounts.Service, c route.Caller, req *deleteDeviceRequest) (*route.Empty, error) {
	op := accounts.ByPassword("deleteDevice", c.UserID, req.DeviceID)
	if _, err := s.Confirm(ctx, op, req.Auth); err != nil {
		return nil, err
	}
	return &route.Empty{}, s.DeleteDevice(ctx, c.UserID, req.DeviceID)
}
