package timeline

import (
	"context"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
)

// maxHops is how many relations are followed from an event to its thread.
const maxHops = 3

// ThreadOf returns the root of the thread that an event is in, or MainThread. A
// root is itself in the main timeline, as is what is related to it by anything but
// m.thread.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (s *Service) ThreadOf(ctx context.Context, room string, row *EventRow) (string, error) {
	for range maxHops {
		r, ok := pdu.RelationOf(canonicaljson.Get(row.JSON, "content"))
		if !ok {
			break
		}
		if r.Type == pdu.RelThread {
			return r.EventID, nil
		}
		rows, err := s.EventsByID(ctx, room, []string{r.EventID})
		if err != nil {
			return "", err
		}
		if row = rows[r.EventID]; row == nil {
			break
		}
	}
	return MainThread, nil
}
