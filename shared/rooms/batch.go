package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
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
	key  *federation.SigningKey

	head timeline.Head // as it will be
	base int64         // the version of HEAD that the batch stands on; 0: there is no room yet

	mem    trie.Memory // chunks of the batch's own states
	chunks []trie.Chunk
	views  map[string]*auth.View // of the batch's own events

	writes  []store.Write
	rows    map[store.Key]store.Write // of current state, by key: the last one counts
	servers map[string]int64          // change of joined members
	cursors map[string]store.Write    // by user

	txn   *store.Key // of the client transaction, if there is one
	txnAt int        // its index in the transaction

	sent     []Sent
	concerns map[string]timeline.Pos
}

func (s *Service) newBatch(ctx context.Context, room string, head *timeline.Head) (*batch, error) {
	key, err := s.Keys.Signing(ctx)
	if err != nil {
		return nil, err
	}
	v, ok := roomversion.Get(head.RoomVersion)
	if !ok {
		return nil, fmt.Errorf("room %s has the unknown version %q", room, head.RoomVersion)
	}
	return &batch{
		s: s, room: room, v: v, key: key, head: *head, base: head.Version,
		mem: trie.Memory{}, views: map[string]*auth.View{},
		rows: map[store.Key]store.Write{}, servers: map[string]int64{}, cursors: map[string]store.Write{},
		concerns: map[string]timeline.Pos{},
	}, nil
}

// state returns the auth views of the keys in the state as it is after the
// events of the batch so far.
func (b *batch) state(ctx context.Context, keys []auth.Key) (auth.StateMap, error) {
	if b.head.CurrentRoot().IsZero() {
		return auth.StateMap{}, nil
	}
	if len(b.views) == 0 {
		return b.s.Timeline.Views(ctx, b.room, b.head.CurrentRoot(), keys)
	}
	ks := make([]trie.Key, len(keys))
	for i, k := range keys {
		ks[i] = trie.Key(k)
	}
	ids, err := trie.Lookup(ctx, b.mem.Over(b.s.Timeline.Loader(b.room)), b.room, b.head.CurrentRoot(), ks)
	if err != nil {
		return nil, err
	}
	state := auth.StateMap{}
	var rest []string
	for k, eventID := range ids {
		if view := b.views[eventID]; view != nil {
			state[auth.Key(k)] = view
		} else {
			rest = append(rest, eventID)
		}
	}
	index, err := b.s.Timeline.Index(ctx, rest)
	if err != nil {
		return nil, err
	}
	for k, eventID := range ids {
		if row := index[eventID]; row != nil {
			if state[auth.Key(k)], err = auth.Decode(row.View); err != nil {
				return nil, err
			}
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
	for _, x := range b.head.Extremities {
		builder.PrevEvents = append(builder.PrevEvents, x.ID)
		builder.Depth = max(builder.Depth, x.Depth+1)
	}
	draft, err := auth.ViewOfBuilder(b.v, &builder)
	if err != nil {
		return fmt.Errorf("%w: %w", pdu.ErrBadJSON, err)
	}
	keys := auth.Reads(b.v, draft)
	if d.StateKey != nil {
		keys = append(keys, auth.Key{Type: d.Type, StateKey: *d.StateKey})
	}
	state, err := b.state(ctx, keys)
	if err != nil {
		return err
	}
	if err := auth.Check(b.v, draft, state); err != nil {
		return err
	}
	for _, k := range auth.Needed(b.v, draft) {
		if view := state[k]; view != nil {
			builder.AuthEvents = append(builder.AuthEvents, view.ID)
		}
	}
	e, err := builder.Build(b.v, b.s.ServerName, b.key.ID, b.key.Private)
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
	return b.accept(ctx, d, e, view, state)
}

// accept gives the event its position and adds the rows that follow from it.
func (b *batch) accept(ctx context.Context, d Draft, e *pdu.Event, view *auth.View, state auth.StateMap) error {
	before := b.head.Root
	b.views[e.ID] = view
	if b.head.Pos == 0 {
		b.head.Pos = userlog.FirstPos - 1
	}
	b.head.Pos++
	pos := b.head.Pos
	row := timeline.EventRow{
		ID: e.ID, JSON: e.JSON(), RoomVersion: b.v.ID, Visibility: b.head.Visibility, Device: d.Txn.Device, Txn: d.Txn.ID,
	}
	if e.IsState() {
		old := state[auth.Key{Type: e.Type, StateKey: *e.StateKey}]
		if old != nil {
			row.Prev = old.ID
		}
		if err := b.setState(ctx, e, view, old, pos); err != nil {
			return err
		}
		if e.Type == typeVisibility {
			v := visibility(e.Content)
			row.Visibility = morePermissive(v, b.head.Visibility)
			b.head.Visibility = v
		}
	}
	row.Root = b.head.Root
	b.head.Extremities = []timeline.Extremity{{ID: e.ID, Depth: e.Depth}}

	b.writes = append(b.writes,
		store.Put(store.Rooms, timeline.EventKey(b.room, pos), store.Encode(row)).If(store.NotExists()),
		store.Put(store.Events, timeline.IndexKey(e.ID), store.Encode(timeline.IndexRow{
			Room: b.room, Pos: pos, Before: before, After: b.head.Root, View: view.Encode(),
		})).If(store.NotExists()),
	)
	if b.txn != nil && d.Txn.ID != "" {
		b.writes = append(b.writes, store.Put(store.Users, *b.txn, store.Attrs{"id": e.ID, "pos": int64(pos)}).
			Until(b.s.Clock.Now().Add(TxnRetention)).If(store.NotExists()))
		b.txnAt = len(b.writes) // HEAD goes before the writes
	}
	b.sent = append(b.sent, Sent{e.ID, pos})
	if e.Type == typeRedaction && !e.IsState() && e.Redacts != "" {
		return b.redact(ctx, e, pos)
	}
	return nil
}

// setState moves the current state on by one event.
func (b *batch) setState(ctx context.Context, e *pdu.Event, view, old *auth.View, pos timeline.Pos) error {
	key := trie.Key{Type: e.Type, StateKey: *e.StateKey}
	root, chunks, err := trie.Update(ctx, b.mem.Over(b.s.Timeline.Loader(b.room)), b.room, b.head.CurrentRoot(),
		[]trie.Entry{{Key: key, EventID: e.ID}})
	if err != nil {
		return fmt.Errorf("change state of %s: %w", b.room, err)
	}
	b.mem.Add(chunks)
	b.chunks = append(b.chunks, chunks...)
	b.head.Root, b.head.RowsRoot = root[:], root[:]
	b.head.StateVer++

	row := timeline.StateRow{ID: e.ID, Pos: pos}
	if e.Type != typeMember {
		return b.put(timeline.StateKey(b.room, e.Type, *e.StateKey), row)
	}
	user := *e.StateKey
	where := timeline.Remote
	if b.s.isLocal(user) {
		where = timeline.Local
	}
	now, was := view.Content.Membership, ""
	if old != nil {
		was = old.Content.Membership
	}
	if was != "" && was != now {
		k := timeline.MemberKey(b.room, where, was, user)
		b.rows[k] = store.Delete(store.Rooms, k)
	}
	if now == "join" && was != "join" {
		b.servers[id.Server(user)]++
	}
	if now != "join" && was == "join" {
		b.servers[id.Server(user)]--
	}
	row.DisplayName, row.AvatarURL = shownProfile(e.Content)
	if where == timeline.Local && now != was {
		if err := b.memberChanged(ctx, user, userlog.Transition{Pos: pos, Membership: now, EventID: e.ID, Sender: e.Sender}); err != nil {
			return err
		}
	}
	return b.put(timeline.MemberKey(b.room, where, now, user), row)
}

func (b *batch) put(k store.Key, row timeline.StateRow) error {
	b.rows[k] = store.Put(store.Rooms, k, store.Encode(row))
	return nil
}

// memberChanged records a local user's own membership in the user's cursor.
func (b *batch) memberChanged(ctx context.Context, user string, t userlog.Transition) error {
	if _, twice := b.cursors[user]; twice {
		return errors.New("a batch changes a membership twice")
	}
	c, err := b.s.Log.Cursor(ctx, user, b.room)
	if err != nil {
		return err
	}
	b.cursors[user] = userlog.MembershipChanged(user, c, t)
	b.concerns[user] = t.Pos
	return nil
}

// redact marks the target. The mark is a row of its own, so that a target that
// arrives later finds it, and is repeated in the target's row, so that readers
// of events need no further read.
func (b *batch) redact(ctx context.Context, e *pdu.Event, pos timeline.Pos) error {
	target, err := b.s.Timeline.EventsByID(ctx, b.room, []string{e.Redacts})
	if err != nil {
		return err
	}
	k := timeline.RedactionKey(b.room, e.Redacts)
	b.rows[k] = store.Put(store.Rooms, k, store.Attrs{"id": e.ID, "pos": int64(pos)})
	row := target[e.Redacts]
	if row == nil || row.Redacted != "" {
		return nil
	}
	k = timeline.EventKey(b.room, row.Pos)
	b.rows[k] = store.Update(store.Rooms, k).Set("rd", e.ID).Set("rp", int64(pos)).If(store.Exists())
	ev, err := row.Event()
	if err != nil || ev.Type != typeMember || ev.StateKey == nil {
		return err
	}
	// The member list shows names of its own.
	where := timeline.Remote
	if b.s.isLocal(*ev.StateKey) {
		where = timeline.Local
	}
	k = timeline.MemberKey(b.room, where, membershipOf(ev.Content), *ev.StateKey)
	state, err := b.s.Timeline.StateIDs(ctx, b.room, b.head.CurrentRoot(), []auth.Key{{Type: typeMember, StateKey: *ev.StateKey}})
	if err != nil {
		return err
	}
	if state[auth.Key{Type: typeMember, StateKey: *ev.StateKey}] == ev.ID {
		b.rows[k] = store.Update(store.Rooms, k).Remove("dn", "av")
	}
	return nil
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
