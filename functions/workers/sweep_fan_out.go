package workers

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// sweepFanOut does what fan_out would have done, had it heard of it: changes are
// hints, and can be lost.
var sweepFanOut = route.Worker{
	Name:    "sweep_fan_out",
	On:      route.Every(15 * time.Minute),
	Size:    route.Background,
	Uses:    rooms.FansOut,
	Handler: route.OnTimer(home.Rooms, runSweepFanOut),
}

func runSweepFanOut(ctx context.Context, s *rooms.Service) error { return s.SweepFanOut(ctx) }
