package workers

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/virga-im/virga/shared/gateway"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// work does what was put off.
var work = route.Worker{
	Name:    "work",
	On:      queue.Work,
	Size:    route.Background,
	Uses:    grant.Of(rooms.TellsReceipts, gateway.Delivers, timeline.TellsPresence),
	Handler: route.OnMessages(home.Whole, runWork),
}

func runWork(ctx context.Context, s *home.Server, m queue.Message) error {
	var t rooms.Task
	if err := json.Unmarshal([]byte(m.Body), &t); err != nil {
		return fmt.Errorf("decode task: %w", err)
	}
	switch t.Kind {
	case rooms.TellReceiptsTask:
		return s.Rooms.TellReceipts(ctx, t.Room)
	case rooms.PushTask:
		return s.Gateway.Deliver(ctx, t.Users, t.Badge)
	case timeline.TellPresenceTask:
		return s.Timeline.TellPresence(ctx, t.User)
	}
	return fmt.Errorf("task of kind %q is not known", t.Kind)
}
