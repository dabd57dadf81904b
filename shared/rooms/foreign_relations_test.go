package rooms_test

import (
	"errors"
	"maps"
	"strings"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// checkRelations compares the rows of relationships with what the events say, in
// whatever order they came.
func (p *peer) checkRelations(rows []*timeline.EventRow) {
	p.t.Helper()
	room, byID, events := p.h.Room, map[string]*timeline.EventRow{}, map[string]*pdu.Event{}
	for _, row := range rows {
		e, err := row.Event()
		p.ok(err)
		byID[row.ID], events[row.ID] = row, e
	}
	want, threads := map[store.Key]string{}, map[string]map[string]int64{}
	latest := map[string]timeline.Pos{}
	for _, row := range rows {
		e := events[row.ID]
		rel, ok := e.Relation()
		if !ok || row.Redacted != "" {
			continue
		}
		// All that it relates to by way of what was not redacted.
		for up, depth := rel, 0; depth < timeline.MaxDepth; depth++ {
			want[timeline.RelationKey(room, up.EventID, row.Pos)] = row.ID
			parent := byID[up.EventID]
			if parent == nil || parent.Redacted != "" {
				break
			}
			if up, ok = events[up.EventID].Relation(); !ok {
				break
			}
		}
		parent := byID[rel.EventID]
		if parent == nil {
			continue
		}
		_, child := events[rel.EventID].Relation()
		switch {
		case rel.Type == "m.replace" && e.Replaces(events[rel.EventID]):
			want[timeline.EditKey(room, rel.EventID, e)] = row.ID
			p.flagged(parent.Edited, row.ID, parent)
		case rel.Type == "m.reference":
			want[timeline.AggregatedKey(room, rel.EventID, rel.Type, row.Pos)] = row.ID
			p.flagged(parent.Referenced, row.ID, parent)
		case rel.Type == "m.thread" && !child:
			want[timeline.AggregatedKey(room, rel.EventID, rel.Type, row.Pos)] = row.ID
			p.flagged(parent.Threaded, row.ID, parent)
			if threads[rel.EventID] == nil {
				threads[rel.EventID] = map[string]int64{}
			}
			threads[rel.EventID][e.Sender]++
			latest[rel.EventID] = max(latest[rel.EventID], row.Pos)
		}
	}
	for k, eventID := range want {
		it, err := p.store.DB().Get(p.ctx, store.Ref{Table: store.Rooms, Key: k}, store.Consistent)
		if err != nil || it.Str("id") != eventID {
			p.t.Errorf("%s names %q and not %s: %v", k.Sort, it.Str("id"), eventID, err)
		}
	}
	for _, row := range rows {
		if _, child := events[row.ID].Relation(); child {
			if row.Threaded {
				p.t.Errorf("the child %s has a thread", row.ID)
			}
			continue
		}
		p.checkThread(row.ID, threads[row.ID], latest[row.ID])
	}
	// What a redaction took back is gone, but from those that were grandparents.
	for it, err := range store.All(p.ctx, p.store.DB(), store.Query{Table: store.Rooms, Part: timeline.RoomPart(room), Consistency: store.Consistent}.Prefix("RL#")) {
		p.ok(err)
		if row := byID[it.Str("id")]; row == nil || row.Redacted != "" && it.Str("via") == "" {
			p.t.Errorf("%s names %s, which is gone", it.Key.Sort, it.Str("id"))
		}
	}
}

func (p *peer) flagged(is bool, child string, parent *timeline.EventRow) {
	p.t.Helper()
	if !is {
		p.t.Errorf("%s does not say that %s relates to it", parent.ID, child)
	}
}

// checkThread compares the counts of one thread.
func (p *peer) checkThread(root string, senders map[string]int64, latest timeline.Pos) {
	p.t.Helper()
	counted, all := map[string]int64{}, int64(0)
	for _, n := range senders {
		all += n
	}
	q := store.Query{Table: store.Rooms, Part: timeline.RoomPart(p.h.Room), Consistency: store.Consistent}.Prefix(timeline.ParticipantKey(p.h.Room, root, "").Sort)
	for it, err := range store.All(p.ctx, p.store.DB(), q) {
		p.ok(err)
		if n := it.Int("n"); n != 0 {
			counted[strings.TrimPrefix(it.Key.Sort, q.From)] = n
		}
	}
	it, err := p.store.DB().Get(p.ctx, store.Ref{Table: store.Rooms, Key: timeline.ThreadKey(p.h.Room, root)}, store.Consistent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.t.Fatal(err)
	}
	if it.Int("n") != all || timeline.Pos(it.Int("l")) != latest || !maps.Equal(counted, senders) && len(counted)+len(senders) > 0 {
		p.t.Errorf("the thread %s has %d events up to %x of %v, and is said to have %d up to %x of %v", root, all, latest, senders, it.Int("n"), it.Int("l"), counted)
	}
	if latest == 0 {
		return
	}
	if it, err := p.store.DB().Get(p.ctx, store.Ref{Table: store.Rooms, Key: timeline.ActivityKey(p.h.Room, latest)}, store.Consistent); err != nil || it.Str("root") != root {
		p.t.Errorf("the thread %s is not listed at its latest event: %v", root, err)
	}
}
