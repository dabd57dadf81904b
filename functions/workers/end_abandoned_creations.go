package workers

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// endAbandonedCreations removes rooms whose creation was never finished.
var endAbandonedCreations = route.Worker{
	Name:    "end_abandoned_creations",
	On:      route.Every(15 * time.Minute),
	Size:    route.Background,
	Uses:    rooms.EndsCreations,
	Handler: route.OnTimer(home.Rooms, runEndAbandonedCreations),
}

func runEndAbandonedCreations(ctx context.Context, s *rooms.Service) error {
	return s.EndAbandonedCreations(ctx)
}
