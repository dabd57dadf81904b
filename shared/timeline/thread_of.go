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
	thread := MainThread
	err := s.ancestry(ctx, room, row, func(_ *EventRow, r pdu.Relation) bool {
		if r.Type == pdu.RelThread {
			thread = r.EventID
		}
		return r.Type == pdu.RelThread
	})
	return thread, err
}

// ThreadShows reports whether a receipt at the event may be one of the thread. It
// may at an event of the thread, at the root, and at what is related to the root,
// such as a reaction: clients show that with the thread too, and some send a
// receipt of the thread there. What is redacted has no relation any more, and is
// shown in the main timeline by those who did not see it before.
func (s *Service) ThreadShows(ctx context.Context, room, thread string, row *EventRow) (bool, error) {
	in, related := MainThread, row.ID == thread
	err := s.ancestry(ctx, room, row, func(child *EventRow, r pdu.Relation) bool {
		if r.Type == pdu.RelThread {
			in = r.EventID
		}
		related = related || r.EventID == thread || thread == MainThread && child.Redacted != ""
		return r.Type == pdu.RelThread || related
	})
	return related || in == thread, err
}

// ancestry follows relationships up from an event until visit, which is given each
// child and its relation, returns true.
func (s *Service) ancestry(ctx context.Context, room string, row *EventRow, visit func(*EventRow, pdu.Relation) bool) error {
	for range maxHops {
		r, ok := pdu.RelationOf(canonicaljson.Get(row.JSON, "content"))
		if !ok || visit(row, r) {
			return nil
		}
		rows, err := s.EventsByID(ctx, room, []string{r.EventID})
		if err != nil {
			return err
		}
		if row = rows[r.EventID]; row == nil {
			return nil
		}
	}
	return nil
}
