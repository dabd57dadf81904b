package rooms

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// accepted is an event that the room takes.
type accepted struct {
	event  *pdu.Event
	view   *auth.View
	before trie.Root // the state before it
	// known is the event's row so far, of one that was here without a position.
	known *timeline.IndexRow
	behind
	// foreign says that another server made it.
	foreign     bool
	device, txn string
}

// accept gives the event its position, moves the forward extremities and the
// current state on, and adds the rows that follow from it.
func (b *batch) accept(ctx context.Context, a accepted) error {
	e := a.event
	// What refuses the event comes before anything of the batch is changed.
	kin, err := b.kinOf(ctx, e, a.foreign)
	if err != nil {
		return err
	}
	row, after, err := b.rowOf(ctx, a)
	if err != nil {
		return err
	}
	was := b.head.CurrentRoot()
	b.unexpose(a)
	if a.known == nil || !a.known.Followed {
		b.exts = append(b.exts, timeline.Extremity{ID: e.ID, Depth: e.Depth, Root: after[:]})
	}
	if err := b.moveState(ctx, e); err != nil {
		return err
	}
	b.nextPos(a.missing)
	b.stay = a.stay
	pos := b.head.Pos
	row.Root = b.head.Root // of the room, which forks may make another than after
	row.Forked = a.before != was || after != b.head.CurrentRoot()
	if a.foreign {
		if err := b.adopt(ctx, e, &row); err != nil {
			return err
		}
	}
	if kin != nil && row.Redacted == "" {
		if err := b.relate(ctx, e, kin, pos, row.Visibility); err != nil {
			return err
		}
	}
	b.place(a, row, timeline.IndexRow{Room: b.room, Pos: pos, Before: a.before[:], After: after[:], View: a.view.Encode()})
	row.Pos = pos
	b.sent = append(b.sent, Sent{ID: e.ID, Pos: pos, row: &row})
	b.placed[e.ID] = pos
	if e.Type == typeRedaction && !e.IsState() && e.Redacts != "" {
		return b.redact(ctx, redaction{e, a.before, pos})
	}
	return nil
}

// rowOf makes the event one of the batch, and the row of its position but for the
// current state; after is the state after it.
func (b *batch) rowOf(ctx context.Context, a accepted) (row timeline.EventRow, after trie.Root, err error) {
	e := a.event
	if err := b.know(ctx, e, a.view); err != nil {
		return row, after, err
	}
	row = timeline.EventRow{ID: e.ID, JSON: e.JSON(), RoomVersion: b.v.ID, Device: a.device, Txn: a.txn}
	if after, row.Prev, err = b.stateAfter(ctx, e, a.before); err != nil {
		return row, after, err
	}
	if row.Visibility, err = b.visibilityOf(ctx, e, a.before); err != nil {
		return row, after, err
	}
	if a.foreign {
		row.Redacted, row.RedactedAt, err = b.redactedBy(ctx, e)
	}
	return row, after, err
}

// place adds the rows of an event at its position. An event takes one position,
// once.
func (b *batch) place(a accepted, row timeline.EventRow, index timeline.IndexRow) {
	put := store.Put(store.Events, timeline.IndexKey(row.ID), nil).If(store.NotExists())
	if a.known != nil {
		index.Seen = a.known.Seen
		put = store.Put(store.Events, timeline.IndexKey(row.ID), nil).If(unchanged(a.known)...)
		k := timeline.UnplacedKey(b.room, row.ID)
		b.rows[k] = store.Delete(store.Rooms, k)
	}
	put.Attrs = store.Encode(index)
	b.writes = append(b.writes, store.Put(store.Rooms, timeline.EventKey(b.room, index.Pos), store.Encode(row)).If(store.NotExists()), put)
}

// unexpose takes what an event follows out of the forward extremities, and
// reports whether there was any of it.
func (b *batch) unexpose(a accepted) bool {
	for _, row := range a.through {
		if !row.Followed {
			b.markUnplaced(row, "fol", true)
		}
	}
	n := len(b.exts)
	b.exts = slices.DeleteFunc(b.exts, func(x timeline.Extremity) bool {
		return slices.Contains(a.event.PrevEvents, x.ID) || slices.Contains(a.placed, x.ID)
	})
	return len(b.exts) < n
}

// markUnplaced sets an attribute of the row of an event without a position.
func (b *batch) markUnplaced(row *timeline.IndexRow, attr string, value any) {
	w, ok := b.marks[row.ID]
	if !ok {
		w = store.Update(store.Events, timeline.IndexKey(row.ID)).If(unchanged(row)...)
	}
	b.marks[row.ID] = w.Set(attr, value)
}

// know makes the event one of the batch.
func (b *batch) know(ctx context.Context, e *pdu.Event, view *auth.View) error {
	cited, err := b.viewsOf(ctx, e.AuthEvents)
	if err != nil {
		return err
	}
	view.Generation = generation(view, cited)
	b.events[e.ID], b.views[e.ID] = e, view
	return nil
}

// generation is one more than the highest of the events that an event cites, or
// zero if one of them has none.
func generation(view *auth.View, cited map[string]*auth.View) int64 {
	var highest int64
	for _, eventID := range view.AuthEvents {
		a := cited[eventID]
		if a == nil || a.Generation == 0 {
			return 0
		}
		highest = max(highest, a.Generation)
	}
	return highest + 1
}

// stateAfter is the state after an event, and the event that it replaces in it.
func (b *batch) stateAfter(ctx context.Context, e *pdu.Event, before trie.Root) (after trie.Root, prev string, err error) {
	if !e.IsState() {
		return before, "", nil
	}
	key := trie.Key{Type: e.Type, StateKey: *e.StateKey}
	ids, err := trie.Lookup(ctx, b.loader(), b.room, before, []trie.Key{key})
	if err != nil {
		return trie.Root{}, "", fmt.Errorf("look up state of %s: %w", b.room, err)
	}
	after, err = b.update(ctx, before, []trie.Entry{{Key: key, EventID: e.ID}})
	return after, ids[key], err
}

// moveState makes the current state that of the forward extremities as they are
// now. e is the event that was added to them, or nil.
func (b *batch) moveState(ctx context.Context, e *pdu.Event) error {
	roots := make([]trie.Root, len(b.exts))
	for i, x := range b.exts {
		roots[i] = x.After()
	}
	current, err := b.resolve(ctx, roots)
	if err != nil || current == b.head.CurrentRoot() {
		return err
	}
	b.head.Root = current[:]
	b.head.StateVer++
	if e == nil || e.Type == typeVisibility || len(b.exts) > 1 || len(e.PrevEvents) > 1 {
		b.head.Visibility, err = b.visibilityIn(ctx, current)
	}
	return err
}

// nextPos moves HEAD to the next position: in a new segment where events are
// missing before it.
func (b *batch) nextPos(gap []string) {
	switch {
	case b.head.Pos == 0:
		b.head.Pos = userlog.FirstPos
	case len(gap) == 0:
		b.head.Pos++
	default:
		b.head.Pos = timeline.NextSegment(b.head.Pos)
	}
	if len(gap) > 0 {
		b.head.Gapped = true
		b.writes = append(b.writes, store.Put(store.Rooms, timeline.GapKey(b.room, b.head.Pos),
			store.Encode(timeline.GapRow{Missing: gap, Low: b.head.Pos})).If(store.NotExists()))
	}
}

// visibilityOf is the visibility of history at an event: of a change of it, the
// more permissive of before and after.
func (b *batch) visibilityOf(ctx context.Context, e *pdu.Event, before trie.Root) (string, error) {
	v := b.head.Visibility
	if before != b.head.CurrentRoot() {
		var err error
		if v, err = b.visibilityIn(ctx, before); err != nil {
			return "", err
		}
	}
	if e.Is(typeVisibility, "") {
		v = morePermissive(v, visibility(e.Content))
	}
	return v, nil
}

// visibilityIn is the visibility of history in a state.
func (b *batch) visibilityIn(ctx context.Context, root trie.Root) (string, error) {
	key := trie.Key{Type: typeVisibility}
	ids, err := trie.Lookup(ctx, b.loader(), b.room, root, []trie.Key{key})
	if err != nil {
		return "", fmt.Errorf("look up state of %s: %w", b.room, err)
	}
	bodies, err := b.bodies(ctx, slices.Collect(maps.Values(ids)))
	if err != nil {
		return "", err
	}
	if e := bodies[ids[key]]; e != nil {
		return visibility(e.Content), nil
	}
	return visibility(nil), nil
}

func shownProfile(content json.RawMessage) (name, avatar string) {
	var c struct {
		Name   any `json:"displayname"`
		Avatar any `json:"avatar_url"`
	}
	// Events of other servers may hold anything here; what is no string is not
	// shown.
	_ = json.Unmarshal(content, &c)
	name, _ = c.Name.(string)
	avatar, _ = c.Avatar.(string)
	return name, avatar
}

func membershipOf(content json.RawMessage) string {
	var c struct {
		Membership string `json:"membership"`
	}
	_ = json.Unmarshal(content, &c)
	return c.Membership
}

// visibility returns the first letter of a history_visibility; anything else
// counts as shared.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
func visibility(content json.RawMessage) string {
	var c struct {
		Visibility any `json:"history_visibility"`
	}
	_ = json.Unmarshal(content, &c)
	switch v, _ := c.Visibility.(string); v {
	case "world_readable", "shared", "invited", "joined":
		return v[:1]
	}
	return "s"
}

func morePermissive(a, b string) string {
	for _, v := range []string{"w", "s", "i"} {
		if a == v || b == v {
			return v
		}
	}
	return "j"
}
