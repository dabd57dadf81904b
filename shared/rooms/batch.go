package rooms

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// Draft is an event to be.
type Draft struct {
	Type     string
	Sender   string
	StateKey *string // nil for message events
	Content  json.RawMessage
	Redacts  string
	Txn      Txn
	// OriginServerTS overrides the time of the event if it is not zero
	// (application services).
	OriginServerTS int64

	last bool // of a new room's events
}

// batch is a few events on top of a HEAD, and the writes that make them so.
// Later events of a batch see the state that earlier ones made.
type batch struct {
	s    *Service
	room string
	v    *roomversion.Version

	was  timeline.Head // as it was read; Version 0: there is no room yet
	head timeline.Head // as it will be
	// exts are all forward extremities, oldest first, and spilled those that have a
	// row of their own.
	exts    []timeline.Extremity
	spilled map[string]bool

	mem    trie.Memory // chunks of the batch's own states
	chunks []trie.Chunk
	events map[string]*pdu.Event // the batch's own, by id
	views  map[string]*auth.View // of its own events, and of those that it has read

	writes  []store.Write
	rows    map[store.Key]store.Write // of the rooms table, by key: the last one counts
	servers map[string]int64          // change of joined members
	cursors map[string]store.Write    // by user
	marks   map[string]store.Write    // of events without a position, by id
	stay    map[string]store.Write    // conditions on others that are missing, by id
	threads map[string]*thread        // by root
	absent  map[string]bool           // parents that have to have no position yet

	txn   *store.Key // of the client transaction, if there is one
	txnAt int        // its index in the transaction

	sent     []Sent
	placed   map[string]timeline.Pos // of sent, by event id
	concerns map[string]timeline.Pos
}

func (s *Service) newBatch(ctx context.Context, room string, head *timeline.Head) (*batch, error) {
	v, ok := roomversion.Get(head.RoomVersion)
	if !ok {
		return nil, fmt.Errorf("room %s has the unknown version %q", room, head.RoomVersion)
	}
	b := &batch{
		s: s, room: room, v: v, was: *head, head: *head,
		mem: trie.Memory{}, events: map[string]*pdu.Event{}, views: map[string]*auth.View{},
		rows: map[store.Key]store.Write{}, servers: map[string]int64{}, cursors: map[string]store.Write{}, marks: map[string]store.Write{},
		threads: map[string]*thread{}, absent: map[string]bool{},
		placed: map[string]timeline.Pos{}, concerns: map[string]timeline.Pos{},
	}
	var err error
	b.exts, b.spilled, err = s.extremities(ctx, room, head)
	return b, err
}

// state returns the auth views of the keys in the state as it is after the
// events of the batch so far.
func (b *batch) state(ctx context.Context, keys []auth.Key) (auth.StateMap, error) {
	return b.stateIn(ctx, b.head.CurrentRoot(), keys)
}

// stateIn returns the auth views of the keys in a state.
func (b *batch) stateIn(ctx context.Context, root trie.Root, keys []auth.Key) (auth.StateMap, error) {
	ks := make([]trie.Key, len(keys))
	for i, k := range keys {
		ks[i] = trie.Key(k)
	}
	ids, err := trie.Lookup(ctx, b.loader(), b.room, root, ks)
	if err != nil {
		return nil, fmt.Errorf("look up state of %s: %w", b.room, err)
	}
	views, err := b.viewsOf(ctx, slices.Collect(maps.Values(ids)))
	if err != nil {
		return nil, err
	}
	state := make(auth.StateMap, len(ids))
	for k, eventID := range ids {
		if state[auth.Key(k)] = views[eventID]; views[eventID] == nil {
			return nil, fmt.Errorf("state of %s names the unknown event %s", b.room, eventID)
		}
	}
	return state, nil
}

const (
	typeCreate     = "m.room.create"
	typeMember     = "m.room.member"
	typeVisibility = "m.room.history_visibility"
	typeRedaction  = "m.room.redaction"
)

// maxCited is how many forward extremities an event of ours follows. The others
// stay extremities for the next one.
const maxCited = 10

// add makes the event, checks that the room's state allows it, and adds what has
// to be written. Errors are auth.Error or those of pdu.Build.
func (b *batch) add(ctx context.Context, d Draft) error {
	if d.Txn.ID != "" {
		key := txnKey(b.room, &d)
		b.txn = &key
	}
	builder := pdu.Builder{
		Type: d.Type, RoomID: b.room, Sender: d.Sender, StateKey: d.StateKey, Content: d.Content, Redacts: d.Redacts,
		Depth: 1, OriginServerTS: d.OriginServerTS,
	}
	if builder.OriginServerTS == 0 {
		builder.OriginServerTS = clock.Millis(b.s.Clock.Now())
	}
	cited := b.exts[max(0, len(b.exts)-maxCited):]
	for _, x := range cited {
		builder.PrevEvents = append(builder.PrevEvents, x.ID)
		builder.Depth = max(builder.Depth, min(x.Depth, math.MaxInt64-1)+1) // a stranger sets it
	}
	before, err := b.stateBefore(ctx, cited)
	if err != nil {
		return err
	}
	draft, err := auth.ViewOfBuilder(b.v, &builder)
	if err != nil {
		return fmt.Errorf("%w: %w", pdu.ErrBadJSON, err)
	}
	if b.v.GivenEventIDs() {
		draft.ID = "$:" + b.s.ServerName // rules ask for the server in it
	}
	state, err := b.stateIn(ctx, before, auth.Reads(b.v, draft))
	if err != nil {
		return err
	}
	if err := auth.Check(b.v, draft, state); err != nil {
		return err
	}
	if before != b.head.CurrentRoot() {
		current, err := b.state(ctx, auth.Reads(b.v, draft))
		if err != nil {
			return err
		}
		if err := auth.Check(b.v, draft, current); err != nil {
			return err
		}
	}
	for _, k := range auth.Needed(b.v, draft) {
		if view := state[k]; view != nil {
			builder.AuthEvents = append(builder.AuthEvents, view.ID)
		}
	}
	if builder.Hashes, err = b.hashes(ctx, &builder); err != nil {
		return err
	}
	key, err := b.s.Keys.Signing(ctx)
	if err != nil {
		return err
	}
	e, err := builder.Build(b.v, b.s.ServerName, key.ID, key.Private)
	if err != nil {
		return err
	}
	view, err := auth.ViewOf(e)
	if err != nil {
		return err
	}
	if b.room == "" {
		b.room = e.RoomID // version 12: the create event names the room
	}
	if err := b.accept(ctx, accepted{event: e, view: view, before: before, device: d.Txn.Device, txn: d.Txn.ID}); err != nil {
		return err
	}
	if b.txn != nil && d.Txn.ID != "" {
		b.writes = append(b.writes, store.Put(store.Users, *b.txn, store.Attrs{"id": e.ID, "pos": int64(b.head.Pos)}).
			Until(b.s.Clock.Now().Add(TxnRetention)).If(store.NotExists()))
		b.txnAt = len(b.writes) // HEAD goes before the writes
	}
	return nil
}

// stateBefore is the state before an event that follows the extremities.
func (b *batch) stateBefore(ctx context.Context, cited []timeline.Extremity) (trie.Root, error) {
	if len(cited) == len(b.exts) {
		return b.head.CurrentRoot(), nil // that is what the current state is
	}
	roots := make([]trie.Root, len(cited))
	for i, x := range cited {
		roots[i] = x.After()
	}
	return b.resolve(ctx, roots)
}

// hashes returns the reference hashes of the events that one of room version 1 or
// 2 cites.
func (b *batch) hashes(ctx context.Context, builder *pdu.Builder) (map[string]string, error) {
	if !b.v.GivenEventIDs() {
		return nil, nil
	}
	cited := slices.Concat(builder.PrevEvents, builder.AuthEvents)
	bodies, err := b.bodies(ctx, cited)
	if err != nil {
		return nil, err
	}
	hashes := map[string]string{}
	for eventID, e := range bodies {
		hash, err := pdu.ReferenceHash(b.v, e.JSON())
		if err != nil {
			return nil, fmt.Errorf("hash %s: %w", eventID, err)
		}
		hashes[eventID] = base64.RawStdEncoding.EncodeToString(hash[:])
	}
	return hashes, nil
}

// bodies returns those of the events that are known to the room, those of the
// batch included, as they were received.
func (b *batch) bodies(ctx context.Context, ids []string) (map[string]*pdu.Event, error) {
	found := map[string]*pdu.Event{}
	var rest []string
	for _, eventID := range ids {
		if e := b.events[eventID]; e != nil {
			found[eventID] = e
		} else {
			rest = append(rest, eventID)
		}
	}
	if len(rest) == 0 {
		return found, nil
	}
	rows, err := b.s.Timeline.KnownEvents(ctx, b.room, rest)
	if err != nil {
		return nil, err
	}
	for eventID, row := range rows {
		if found[eventID], err = row.Event(); err != nil {
			return nil, err
		}
	}
	return found, nil
}
