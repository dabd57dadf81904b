package rooms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// The attributes of an event's row that say which aggregations it has.
var aggregated = map[string]string{pdu.RelReplace: "re", pdu.RelReference: "rf", pdu.RelThread: "th"}

// kin is what an event relates to.
type kin struct {
	pdu.Relation
	chain  ancestors
	parent *timeline.EventRow // nil if it has no position
	// open is the event of the chain that has no position, or "". What it relates to
	// itself is not known yet.
	open string
	// counts says that the relationship is one that is aggregated, as far as that can
	// be said: where the parent is not here yet, it may turn out not to be.
	counts bool
}

// kinOf returns what the event relates to, or nil. Rules of its relationship that it
// breaks are an error if the event is ours, and else leave it out of what is
// aggregated.
func (b *batch) kinOf(ctx context.Context, e *pdu.Event, foreign bool) (*kin, error) {
	rel, ok := e.Relation()
	if !ok || rel.EventID == e.ID {
		return nil, nil
	}
	k := &kin{Relation: rel}
	var err error
	if k.chain, k.parent, k.open, err = b.ancestors(ctx, e.ID, rel); err != nil {
		return nil, err
	}
	if len(k.chain) == 0 {
		if foreign {
			return nil, nil // related to nothing that this room will ever have
		}
		return nil, mxerr.InvalidParam("The event %s, to which this one relates, is in another room.", rel.EventID)
	}
	if k.counts, err = k.count(e); err != nil || foreign {
		return k, err
	}
	return k, b.checkRelation(ctx, e, k)
}

// relate adds the rows of an event's relationship.
func (b *batch) relate(ctx context.Context, e *pdu.Event, k *kin, pos timeline.Pos, visibility string) error {
	row := timeline.RelationRow{Pos: pos, ID: e.ID, RelType: k.Type, Type: e.Type, Sender: e.Sender, Visibility: visibility}
	put := func(key store.Key, a store.Attrs) { b.rows[key] = store.Put(store.Rooms, key, a) }
	for i, ancestor := range k.chain {
		row.Via = k.chain.between(i)
		put(timeline.RelationKey(b.room, ancestor.id, pos), store.Encode(row))
	}
	row.Via = nil
	if k.Type == pdu.RelAnnotation {
		put(timeline.AnnotationKey(b.room, k.EventID, e, k.Key), store.Attrs{"id": e.ID})
	}
	if k.open != "" {
		b.await(k.open)
	}
	if !k.counts {
		return nil
	}
	switch k.Type {
	case pdu.RelReplace:
		put(timeline.EditKey(b.room, k.EventID, e), store.Encode(row))
	case pdu.RelReference, pdu.RelThread:
		put(timeline.AggregatedKey(b.room, k.EventID, k.Type, pos), store.Encode(row))
	}
	if k.Type == pdu.RelThread {
		t, err := b.thread(ctx, k.EventID)
		if err != nil {
			return err
		}
		t.n++
		t.senders[e.Sender]++
		t.latest = max(t.latest, pos)
	}
	b.flagParent(k)
	return nil
}

// ancestor is an event that another relates to, also by way of others.
type ancestor struct {
	id string
	// rel and typ are how the ancestor relates to the next, and its type.
	rel, typ string
}

type ancestors []ancestor

// between are the events between a descendant and its ancestor i.
func (c ancestors) between(i int) []timeline.Between {
	var via []timeline.Between
	for _, a := range c[:i] {
		via = append(via, timeline.Between{ID: a.id, RelType: a.rel, Type: a.typ})
	}
	return via
}

// ancestors returns the events that a child relates to, the nearest first, with the
// row of its parent, which is nil if that has no position, and the event of the chain
// that has none. The chain ends before an event of another room, which will never
// have a position in this one.
func (b *batch) ancestors(ctx context.Context, child string, rel pdu.Relation) (chain ancestors, parent *timeline.EventRow, open string, err error) {
	for {
		chain = append(chain, ancestor{id: rel.EventID})
		if len(chain) == timeline.MaxDepth {
			return chain, parent, "", nil
		}
		row, err := b.placedRow(ctx, rel.EventID)
		if err != nil {
			return nil, nil, "", err
		}
		if row == nil {
			index, err := b.s.Timeline.Index(ctx, []string{rel.EventID})
			if err != nil {
				return nil, nil, "", err
			}
			if at := index[rel.EventID]; at != nil && at.Room != b.room {
				return chain[:len(chain)-1], parent, "", nil
			}
			return chain, parent, rel.EventID, nil
		}
		if parent == nil {
			parent = row
		}
		e, err := row.Visible()
		if err != nil {
			return nil, nil, "", err
		}
		last := &chain[len(chain)-1]
		next, ok := e.Relation()
		if !ok || next.EventID == child || slices.ContainsFunc(chain, func(a ancestor) bool { return a.id == next.EventID }) {
			return chain, parent, "", nil
		}
		last.rel, last.typ = next.Type, e.Type
		rel = next
	}
}

// placedRow returns the row of an event with a position, or nil.
func (b *batch) placedRow(ctx context.Context, eventID string) (*timeline.EventRow, error) {
	if pos, ok := b.placed[eventID]; ok {
		return &timeline.EventRow{ID: eventID, Pos: pos, JSON: b.events[eventID].JSON(), RoomVersion: b.v.ID}, nil
	}
	rows, err := b.s.Timeline.EventsByID(ctx, b.room, []string{eventID})
	return rows[eventID], err
}

// count reports whether the relationship is aggregated.
func (k *kin) count(e *pdu.Event) (bool, error) {
	if aggregated[k.Type] == "" || k.Type == pdu.RelReplace && !e.MayReplace() {
		return false, nil
	}
	if k.parent == nil {
		return true, nil
	}
	// The rules are about the parent as it was sent, redacted or not.
	parent, err := k.parent.Event()
	if err != nil {
		return false, err
	}
	switch k.Type {
	case pdu.RelReplace:
		return e.Replaces(parent), nil
	case pdu.RelThread:
		_, child := parent.Relation()
		return !child, nil
	}
	return true, nil
}

// checkRelation refuses what a client may not send.
//
// https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
// https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
func (b *batch) checkRelation(ctx context.Context, e *pdu.Event, k *kin) error {
	switch {
	case k.Type == pdu.RelThread && !k.counts:
		return mxerr.Unknown("A thread cannot start from an event that is itself related to another.")
	case k.Type == pdu.RelAnnotation:
		key := timeline.AnnotationKey(b.room, k.EventID, e, k.Key)
		_, err := b.s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: key}, store.Consistent)
		if _, here := b.rows[key]; here || err == nil {
			return mxerr.New(http.StatusBadRequest, "M_DUPLICATE_ANNOTATION", "You have said just this of the event already.")
		}
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read annotation of %s: %w", k.EventID, err)
		}
	}
	return nil
}

// await leaves word for an event without a position that others relate to it. It
// finds that when it takes one: the two transactions that may run beside each other
// each check what the other writes.
func (b *batch) await(eventID string) store.Write {
	k := timeline.WaitingKey(b.room, eventID)
	w, ok := b.rows[k]
	if !ok {
		w = store.Update(store.Rooms, k).Add("v", 1)
	}
	b.rows[k], b.absent[eventID] = w, true
	return w
}

// flagParent says in the parent's row that something is aggregated there.
func (b *batch) flagParent(k *kin) {
	attr, p := aggregated[k.Type], k.parent
	switch {
	case p == nil:
		b.rows[timeline.WaitingKey(b.room, k.EventID)] = b.await(k.EventID).Set(attr, true)
	case p.Edited && attr == "re", p.Referenced && attr == "rf", p.Threaded && attr == "th":
	default:
		b.changeEvent(p.Pos, func(w store.Write) store.Write { return w.Set(attr, true) })
	}
}

// changeEvent changes the row of an event, also of one of the batch itself.
func (b *batch) changeEvent(pos timeline.Pos, change func(store.Write) store.Write) {
	k := timeline.EventKey(b.room, pos)
	for i, w := range b.writes {
		if w.Table == store.Rooms && w.Key == k {
			for name, v := range change(store.Update(store.Rooms, k)).SetAttrs {
				b.writes[i].Attrs[name] = v
			}
			return
		}
	}
	w, ok := b.rows[k]
	if !ok {
		w = store.Update(store.Rooms, k).If(store.Exists())
	}
	b.rows[k] = change(w)
}

// adopt lets an event that takes its position find the children that came before
// it: its row says what they are, and what it relates to itself is told of them.
func (b *batch) adopt(ctx context.Context, e *pdu.Event, row *timeline.EventRow) error {
	k := timeline.WaitingKey(b.room, e.ID)
	it, err := b.s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: k}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		b.rows[k] = store.Check(store.Rooms, k, store.NotExists())
		return nil
	}
	if err != nil {
		return fmt.Errorf("read children of %s: %w", e.ID, err)
	}
	b.rows[k] = store.Delete(store.Rooms, k).If(store.Equal("v", it.Int("v")))
	rel, related := e.Relation()
	related = related && rel.EventID != e.ID
	row.Edited, row.Referenced, row.Threaded = it.Bool("re"), it.Bool("rf"), it.Bool("th") && !related
	if !related || row.Redacted != "" {
		return nil
	}
	chain, _, _, err := b.ancestors(ctx, e.ID, rel)
	if err != nil {
		return err
	}
	children, err := b.s.Timeline.Children(ctx, b.room, e.ID, maxAdopted)
	if err != nil {
		return err
	}
	self := timeline.Between{ID: e.ID, RelType: rel.Type, Type: e.Type}
	for _, c := range children {
		near := append(slices.Clone(c.Via), self)
		for i, ancestor := range chain {
			if c.Via = slices.Concat(near, chain.between(i)); len(c.Via) < timeline.MaxDepth {
				k := timeline.RelationKey(b.room, ancestor.id, c.Pos)
				b.rows[k] = store.Put(store.Rooms, k, store.Encode(c))
			}
		}
	}
	return nil
}

// maxAdopted bounds how many children of a late event are told to what the event
// relates to.
const maxAdopted = 20

// thread is what a batch changes about a thread.
type thread struct {
	was     timeline.ThreadRow
	n       int64
	latest  timeline.Pos
	senders map[string]int64
}

func (b *batch) thread(ctx context.Context, root string) (*thread, error) {
	if t := b.threads[root]; t != nil {
		return t, nil
	}
	t := &thread{senders: map[string]int64{}}
	it, err := b.s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: timeline.ThreadKey(b.room, root)}, store.Consistent)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("read thread %s: %w", root, err)
	default:
		if err := store.Decode(it, &t.was); err != nil {
			return nil, err
		}
	}
	t.latest = t.was.Latest
	b.threads[root] = t
	return t, nil
}

// relationWrites are the writes about threads, and the checks that parents are
// still not here.
func (b *batch) relationWrites() []store.Write {
	var ws []store.Write
	for root, t := range b.threads {
		w := store.Update(store.Rooms, timeline.ThreadKey(b.room, root)).Add("n", t.n)
		if t.latest != t.was.Latest {
			// Events of the past are placed beside those of the present.
			is := store.Absent("l")
			if t.was.Latest != 0 {
				is = store.Equal("l", int64(t.was.Latest))
				ws = append(ws, store.Delete(store.Rooms, timeline.ActivityKey(b.room, t.was.Latest)))
			}
			if w = w.If(is); t.latest == 0 {
				w = w.Remove("l")
			} else {
				w = w.Set("l", int64(t.latest))
				ws = append(ws, store.Put(store.Rooms, timeline.ActivityKey(b.room, t.latest), store.Attrs{"root": root}))
			}
		}
		ws = append(ws, w)
		for user, n := range t.senders {
			ws = append(ws, store.Update(store.Rooms, timeline.ParticipantKey(b.room, root, user)).Add("n", n))
		}
	}
	for eventID := range b.absent {
		_, marked := b.marks[eventID] // which checks it too, as does that it stays missing
		_, stays := b.stay[eventID]
		if _, placed := b.placed[eventID]; !marked && !stays && !placed {
			ws = append(ws, store.Check(store.Events, timeline.IndexKey(eventID), store.Absent("pos")))
		}
	}
	return ws
}

// unrelate takes back the rows of an event that is redacted. Descendants stay
// listed with its ancestors; readers see that what is between was redacted.
func (b *batch) unrelate(ctx context.Context, e *pdu.Event, pos timeline.Pos) error {
	rel, ok := e.Relation()
	if !ok {
		return nil
	}
	drop := func(k store.Key) { b.rows[k] = store.Delete(store.Rooms, k) }
	drop(timeline.RelationKey(b.room, rel.EventID, pos))
	switch rel.Type {
	case pdu.RelReplace:
		drop(timeline.EditKey(b.room, rel.EventID, e))
	case pdu.RelReference:
		drop(timeline.AggregatedKey(b.room, rel.EventID, rel.Type, pos))
	case pdu.RelAnnotation:
		k := timeline.AnnotationKey(b.room, rel.EventID, e, rel.Key)
		it, err := b.s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: k}, store.Consistent)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read annotation of %s: %w", rel.EventID, err)
		}
		if it.Str("id") == e.ID { // else somebody's server let it be said twice
			b.rows[k] = store.Delete(store.Rooms, k).If(store.Equal("id", e.ID))
		}
	case pdu.RelThread:
		return b.leaveThread(ctx, e, rel.EventID, pos)
	}
	return nil
}

// leaveThread takes a redacted event out of its thread, if it was counted there.
func (b *batch) leaveThread(ctx context.Context, e *pdu.Event, root string, pos timeline.Pos) error {
	k := timeline.AggregatedKey(b.room, root, pdu.RelThread, pos)
	_, err := b.s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: k}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read thread %s: %w", root, err)
	}
	b.rows[k] = store.Delete(store.Rooms, k).If(store.Exists())
	t, err := b.thread(ctx, root)
	if err != nil {
		return err
	}
	t.n--
	t.senders[e.Sender]--
	if t.latest != pos {
		return nil
	}
	newest, err := b.s.Timeline.ThreadEvents(ctx, b.room, root, 2)
	if err != nil {
		return err
	}
	t.latest = 0
	for _, r := range newest {
		if r.Pos != pos {
			t.latest = max(t.latest, r.Pos)
		}
	}
	return nil
}

// size is at least how many writes the batch is so far.
func (b *batch) size() int {
	n := 1 + len(b.writes) + len(b.rows) + len(b.servers) + len(b.cursors) + len(b.marks) + len(b.absent)
	for _, t := range b.threads {
		n += 3 + len(t.senders)
	}
	return n
}
