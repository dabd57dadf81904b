package workers

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// finishDeactivations takes accounts out of their rooms that were deactivated by
// a request which died, or ran out of time.
var finishDeactivations = route.Worker{
	Name:    "finish_deactivations",
	On:      route.Every(5 * time.Minute),
	Size:    route.Background,
	Uses:    rooms.FinishesDeactivations,
	Handler: route.OnTimer(home.Rooms, runFinishDeactivations),
}

func runFinishDeactivations(ctx context.Context, s *rooms.Service) error {
	return s.FinishDeactivations(ctx)
}
