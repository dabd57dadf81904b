package devices

import (
	"context"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getDevices lists the devices of the requesting user.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
var getDevices = route.Route{
	Name:    "getDevices",
	Pattern: "GET /_matrix/client/v3/devices",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    accounts.ReadsDevices,
	Handler: route.Handle(home.Accounts, serveGetDevices),
}

type getDevicesResponse struct {
	Devices []device `json:"devices"`
}

// device is what the specification calls a client device.
type device struct {
	ID          string `json:"device_id"`
	DisplayName string `json:"display_name,omitempty"`
	LastSeenIP  string `json:"last_seen_ip,omitempty"`
	LastSeenTS  int64  `json:"last_seen_ts,omitempty"`
}

func shown(d accounts.Device) device {
	return device{d.ID, d.DisplayName, d.LastIP, d.LastSeen.UnixMilli()}
}

func serveGetDevices(ctx context.Context, s *accounts.Service, c route.Caller, _ *route.Empty) (*getDevicesResponse, error) {
	all, err := s.Devices(ctx, c.UserID)
	if err != nil {
		return nil, err
	}
	resp := &getDevicesResponse{make([]device, len(all))}
	for i, d := range all {
		resp.Devices[i] = shown(d)
	}
	return resp, nil
}
