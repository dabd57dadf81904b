package timeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// bundle is what a client is told of an event's children.
//
// https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
type bundle struct {
	Replace   json.RawMessage `json:"m.replace,omitempty"`
	Reference *references     `json:"m.reference,omitempty"`
	Thread    *threadBundle   `json:"m.thread,omitempty"`
}

type references struct {
	Chunk []reference `json:"chunk"`
}

type reference struct {
	EventID string `json:"event_id"`
}

type threadBundle struct {
	Latest       json.RawMessage `json:"latest_event"`
	Count        int64           `json:"count"`
	Participated bool            `json:"current_user_participated"`
}

const (
	// maxReferences is how many events a chunk of m.reference has, the newest ones:
	// /relations has all.
	maxReferences = 100
	// maxEdits and maxLatest bound how many edits, and events of a thread, that the
	// user does not see are looked through for one that the user sees.
	maxEdits  = 20
	maxLatest = 100
	// maxParticipants bounds how many senders of a thread are looked at for those whom
	// the user ignores.
	maxParticipants = 500
	// bundledAtOnce is how many events are asked about at a time.
	bundledAtOnce = 16
)

// bundling is a parent of which children are told.
type bundling struct {
	event         *pdu.Event
	row           *EventRow
	edit, latest  Pos // zero: none
	chunk         []reference
	n, ignored    int64
	participating bool
}

// bundles returns the aggregations of those of the rows that have any, by event id.
// Rows without children cost nothing; of the others each costs a query for each kind
// of children, and all together two batched reads.
func (w *view) bundles(ctx context.Context, rows []*EventRow, f format) (map[string]*bundle, error) {
	var parents []*bundling
	for _, r := range rows {
		if !r.Edited && !r.Referenced && (!r.Threaded || f.nested) {
			continue
		}
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		if !e.IsState() {
			parents = append(parents, &bundling{event: e, row: r})
		}
	}
	if len(parents) == 0 {
		return nil, nil
	}
	if err := w.findChildren(ctx, parents, f); err != nil {
		return nil, err
	}
	if err := w.countThreads(ctx, parents); err != nil {
		return nil, err
	}
	var at []Pos
	for _, p := range parents {
		for _, pos := range []Pos{p.edit, p.latest} {
			if pos != 0 {
				at = append(at, pos)
			}
		}
	}
	children, err := w.s.rowsAt(ctx, w.room, at)
	if err != nil {
		return nil, err
	}
	var edits, latest []*EventRow
	for _, p := range parents {
		if r := children[p.edit]; r != nil {
			edits = append(edits, r)
		}
		if r := children[p.latest]; r != nil {
			latest = append(latest, r)
		}
	}
	inner := f
	inner.bundle, inner.nested, inner.fields = false, true, nil // fields are picked from the whole
	shownEdits, err := w.showByPos(ctx, edits, inner)
	if err != nil {
		return nil, err
	}
	inner.bundle = true
	shownLatest, err := w.showByPos(ctx, latest, inner)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*bundle, len(parents))
	for _, p := range parents {
		b := new(bundle)
		if r := children[p.edit]; r != nil && r.Redacted == "" {
			e, err := r.Event()
			if err != nil {
				return nil, err
			}
			if e.Replaces(p.event) {
				b.Replace = shownEdits[p.edit]
			}
		}
		if len(p.chunk) > 0 {
			b.Reference = &references{p.chunk}
		}
		if shown := shownLatest[p.latest]; shown != nil && p.n > p.ignored {
			b.Thread = &threadBundle{shown, p.n - p.ignored, p.participating}
		}
		if b.Replace != nil || b.Reference != nil || b.Thread != nil {
			all[p.row.ID] = b
		}
	}
	return all, nil
}

// findChildren looks for what is told of each parent.
func (w *view) findChildren(ctx context.Context, parents []*bundling, f format) error {
	var wg sync.WaitGroup
	errs := make([]error, len(parents))
	slots := make(chan struct{}, bundledAtOnce)
	for i, p := range parents {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = safely(func() error { return w.findOf(ctx, p, f) })
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *view) findOf(ctx context.Context, p *bundling, f format) error {
	if p.row.Edited && p.row.Redacted == "" {
		pre := editsOf(p.row.ID, p.event.Sender)
		for _, n := range []int{1, maxEdits} {
			edits, err := w.s.relations(ctx, w.room, pre, pre+"\U0010FFFF", true, n)
			if err != nil {
				return err
			}
			few := len(edits) < n
			edits = slices.DeleteFunc(edits, func(r *RelationRow) bool { return r.Type != p.event.Type })
			if p.edit, err = w.firstSeen(ctx, edits); err != nil {
				return err
			}
			if p.edit != 0 || few {
				break
			}
		}
	}
	if p.row.Referenced {
		if err := w.findReferences(ctx, p); err != nil {
			return err
		}
	}
	if !p.row.Threaded || f.nested {
		return nil
	}
	for _, n := range []int{1, maxLatest} {
		events, err := w.s.ThreadEvents(ctx, w.room, p.row.ID, n)
		if err != nil {
			return err
		}
		if p.latest, err = w.firstSeen(ctx, events); err != nil {
			return err
		}
		if p.latest != 0 || len(events) < n {
			break
		}
	}
	return w.countIgnored(ctx, p)
}

// firstSeen is the position of the first of the children that the user is shown.
func (w *view) firstSeen(ctx context.Context, children []*RelationRow) (Pos, error) {
	for _, r := range children {
		if ok, err := w.seesChild(ctx, r); err != nil || ok {
			return r.Pos, err
		}
	}
	return 0, nil
}

// seesChild reports whether the user sees an event, by its row in its parent's list.
func (w *view) seesChild(ctx context.Context, r *RelationRow) (bool, error) {
	row := &EventRow{Pos: r.Pos, ID: r.ID, Visibility: r.Visibility}
	if w.cursor.MembershipAt(r.Pos) == "" && len(w.cursor.Transitions) >= userlog.MaxTransitions {
		var err error
		if row, err = w.s.At(ctx, w.room, r.Pos); err != nil { // it has the state too
			return false, err
		}
	}
	if ok, err := w.sees(ctx, row); err != nil || !ok || r.Sender == w.User {
		return ok, err
	}
	ignored, err := w.ignores.has(ctx, r.Sender)
	return !ignored, err
}

func (w *view) findReferences(ctx context.Context, p *bundling) error {
	from, to := AggregatedKey(w.room, p.row.ID, pdu.RelReference, 0), AggregatedKey(w.room, p.row.ID, pdu.RelReference, end)
	found, err := w.s.relations(ctx, w.room, from.Sort, to.Sort, true, maxReferences)
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(found) {
		ok, err := w.seesChild(ctx, r)
		if err != nil {
			return err
		}
		if ok {
			p.chunk = append(p.chunk, reference{r.ID})
		}
	}
	return nil
}

// countIgnored counts the events of a thread that users sent whom the user ignores.
func (w *view) countIgnored(ctx context.Context, p *bundling) error {
	if any, err := w.ignores.any(ctx); err != nil || !any {
		return err
	}
	q := store.Query{Table: store.Rooms, Part: RoomPart(w.room), Limit: maxParticipants, Consistency: store.Consistent}.
		Prefix(ParticipantKey(w.room, p.row.ID, "").Sort)
	for it, err := range store.All(ctx, w.s.DB, q) {
		if err != nil {
			return fmt.Errorf("read participants of %s: %w", p.row.ID, err)
		}
		user := it.Key.Sort[len(q.From):]
		ignored, err := w.ignores.has(ctx, user)
		if err != nil {
			return err
		}
		if ignored && user != w.User {
			p.ignored += it.Int("n")
		}
	}
	return nil
}

// countThreads reads how many events threads have, and whether the user takes part
// in them.
func (w *view) countThreads(ctx context.Context, parents []*bundling) error {
	var refs []store.Ref
	byKey := map[store.Key]*bundling{}
	for _, p := range parents {
		if p.latest == 0 {
			continue
		}
		p.participating = p.event.Sender == w.User
		for _, k := range []store.Key{ThreadKey(w.room, p.row.ID), ParticipantKey(w.room, p.row.ID, w.User)} {
			refs, byKey[k] = append(refs, store.Ref{Table: store.Rooms, Key: k}), p
		}
	}
	if len(refs) == 0 {
		return nil
	}
	items, err := store.GetAll(ctx, w.s.DB, refs, store.Consistent)
	if err != nil {
		return fmt.Errorf("read threads of %s: %w", w.room, err)
	}
	for _, it := range items {
		p := byKey[it.Key]
		if it.Key == ThreadKey(w.room, p.row.ID) {
			p.n = it.Int("n")
		} else if it.Int("n") > 0 {
			p.participating = true
		}
	}
	return nil
}

// showByPos is show by position.
func (w *view) showByPos(ctx context.Context, rows []*EventRow, f format) (map[Pos]json.RawMessage, error) {
	shown, err := w.show(ctx, rows, f)
	if err != nil {
		return nil, err
	}
	byPos := make(map[Pos]json.RawMessage, len(rows))
	for i, r := range rows {
		byPos[r.Pos] = shown[i]
	}
	return byPos, nil
}
