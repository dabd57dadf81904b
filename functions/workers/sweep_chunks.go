package workers

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// sweepChunks deletes the pieces of rooms' states that no state needs any more.
var sweepChunks = route.Worker{
	Name:    "sweep_chunks",
	On:      route.Every(time.Hour),
	Size:    route.Background,
	Uses:    rooms.SweepsChunks,
	Handler: route.OnTimer(home.Rooms, runSweepChunks),
}

func runSweepChunks(ctx context.Context, s *rooms.Service) error { return s.SweepChunks(ctx) }
