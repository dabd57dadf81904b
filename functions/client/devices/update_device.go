package devices

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// updateDevice changes what a device is called. Only application services may
// make new devices by it, and there are none yet.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
var updateDevice = route.Route{
	Name:     "updateDevice",
	Pattern:  "PUT /_matrix/client/v3/devices/{deviceId}",
	Also:     route.R0,
	Standing: route.SuspendedToo,
	Limit:    route.LimitRequest,
	Uses:     accounts.NamesDevices,
	Handler:  route.Handle(home.Accounts, serveUpdateDevice),
}

type updateDeviceRequest struct {
	DeviceID string `path:"deviceId"`
	// DisplayName is nil where the name is to stay as it is.
	DisplayName *string `json:"display_name"`
}

func serveUpdateDevice(ctx context.Context, s *accounts.Service, c route.Caller, req *updateDeviceRequest) (*route.Empty, error) {
	if req.DisplayName == nil {
		_, err := s.Device(ctx, c.UserID, req.DeviceID)
		return &route.Empty{}, err
	}
	return &route.Empty{}, s.SetDeviceName(ctx, c.UserID, req.DeviceID, *req.DisplayName)
}
