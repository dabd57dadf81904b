package rooms

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/timeline"
)

// maxHops is how many relations are followed from an event to its thread.
const maxHops = 3

// relation is what an event says that it relates to.
type relation struct {
	Type    string `json:"rel_type"`
	EventID string `json:"event_id"`
}

func relationOf(row *timeline.EventRow) relation {
	var e struct {
		Content struct {
			RelatesTo json.RawMessage `json:"m.relates_to"`
		} `json:"content"`
	}
	var r relation
	if json.Unmarshal(row.JSON, &e) == nil && e.Content.RelatesTo != nil {
		_ = json.Unmarshal(e.Content.RelatesTo, &r) // what is no relation is none
	}
	return r
}

// inThread reports whether an event is in a thread, or is its root. What a thread
// root is related to by anything but m.thread is in the main timeline.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (s *Service) inThread(ctx context.Context, room string, row *timeline.EventRow, thread string) (bool, error) {
	if row.ID == thread {
		return true, nil
	}
	for range maxHops {
		r := relationOf(row)
		if r.EventID == "" {
			break
		}
		if r.Type == "m.thread" {
			return r.EventID == thread, nil
		}
		rows, err := s.Timeline.EventsByID(ctx, room, []string{r.EventID})
		if err != nil {
			return false, err
		}
		if row = rows[r.EventID]; row == nil {
			break
		}
	}
	return thread == timeline.MainThread, nil
}
