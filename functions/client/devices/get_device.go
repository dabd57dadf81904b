package devices

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getDevice returns a device of the requesting user.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
var getDevice = route.Route{
	Name:    "getDevice",
	Pattern: "GET /_matrix/client/v3/devices/{deviceId}",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.ReadsDevices,
	Handler: route.Handle(home.Accounts, serveGetDevice),
}

type getDeviceRequest struct {
	DeviceID string `path:"deviceId"`
}

func serveGetDevice(ctx context.Context, s *accounts.Service, c route.Caller, req *getDeviceRequest) (*device, error) {
	d, err := s.Device(ctx, c.UserID, req.DeviceID)
	if err != nil {
		return nil, err
	}
	resp := shown(d)
	return &resp, nil
}
