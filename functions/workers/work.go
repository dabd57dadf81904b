package workers

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// work does what was put off.
var work = route.Worker{
	Name:    "work",
	On:      queue.Work,
	Size:    route.Background,
	Uses:    rooms.TellsReceipts,
	Handler: route.OnMessages(home.Rooms, runWork),
}

func runWork(ctx context.Context, s *rooms.Service, m queue.Message) error {
	var t rooms.Task
	if err := json.Unmarshal([]byte(m.Body), &t); err != nil {
		return fmt.Errorf("decode task: %w", err)
	}
	switch t.Kind {
	case rooms.TellReceiptsTask:
		return s.TellReceipts(ctx, t.Room)
	}
	return fmt.Errorf("task of kind %q is not known", t.Kind)
}
