package workers

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// fanOut is the dispatcher of the rooms table: it brings what was written to a
// room to everybody whom it concerns.
var fanOut = route.Worker{
	Name:    "fan_out",
	On:      store.Rooms.Changes(),
	Size:    route.Background,
	Uses:    rooms.FansOut,
	Handler: route.OnChanges(home.Rooms, runFanOut),
}

func runFanOut(ctx context.Context, s *rooms.Service, changes []store.Change) error {
	return s.Dispatch(ctx, changes)
}
