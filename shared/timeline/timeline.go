package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// Service is the timeline domain.
type Service struct {
	DB         store.DB
	Clock      clock.Clock
	Log        *userlog.Service
	Accounts   *accounts.Service
	ServerName string

	chunks  *cache[chunkID, []byte]
	views   *cache[string, *auth.View]
	places  *cache[string, place]
	filters *cache[string, json.RawMessage]
	written *cache[written, struct{}]
	// crowds are the local members of large rooms.
	crowds *cache[stateOf, []StateRow]
	// settings decide what notifies users.
	settings *cache[settingsVersion, *pushSettings]
	members  *cache[answerTo, map[string]string]

	queues   queue.Sender
	presence bool
	acts     acts
}

// Reads is what reading rooms uses.
var Reads = grant.Of(grant.ReadTable("rooms", "events"))

// Options holds what New needs.
type Options struct {
	DB         store.DB
	Clock      clock.Clock
	Log        *userlog.Service
	Accounts   *accounts.Service
	ServerName string
	// Presence turns presence on, which needs Queues.
	Presence bool
	Queues   queue.Sender
}

// New returns the service. Chunks of state and auth views are immutable, so a
// process keeps those it has used in a bounded cache.
func New(o Options) *Service {
	return &Service{
		DB: o.DB, Clock: o.Clock, Log: o.Log, Accounts: o.Accounts, ServerName: o.ServerName,
		chunks: newCache[chunkID, []byte](4 << 20), views: newCache[string, *auth.View](2 << 20),
		places: newCache[string, place](1 << 20), filters: newCache[string, json.RawMessage](1 << 20),
		crowds:  newCache[stateOf, []StateRow](8 << 20),
		written: newCache[written, struct{}](1 << 20), settings: newCache[settingsVersion, *pushSettings](8 << 20),
		members: newCache[answerTo, map[string]string](4 << 20),
		queues:  o.Queues, presence: o.Presence,
	}
}

type chunkID struct {
	room string
	hash trie.Hash
}

// place is where an accepted event is. An event takes one position, for good.
type place struct {
	room string
	pos  Pos
}

// Head returns where a room stands, or M_NOT_FOUND if there is no such room
// here. A room that is being created is not there yet.
func (s *Service) Head(ctx context.Context, room string) (*Head, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: HeadKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return nil, mxerr.NotFound("This server does not know the room %s.", room)
	}
	if err != nil {
		return nil, fmt.Errorf("read head of %s: %w", room, err)
	}
	h, err := decodeHead(it)
	if err != nil {
		return nil, err
	}
	if h.Creating {
		return nil, mxerr.NotFound("This server does not know the room %s.", room)
	}
	return h, nil
}

// HeadOf reads a Head from the item that a failed condition returned.
func HeadOf(it store.Item) (*Head, error) { return decodeHead(it) }

// Event returns an event of the row in the form of the events packages. It is read
// once, so a row is for one goroutine.
func (r *EventRow) Event() (*pdu.Event, error) {
	if r.event != nil {
		return r.event, nil
	}
	v, ok := roomversion.Get(r.RoomVersion)
	if !ok {
		return nil, fmt.Errorf("event %s has room version %q", r.ID, r.RoomVersion)
	}
	var err error
	r.event, err = pdu.Load(v, r.ID, r.JSON)
	return r.event, err
}

// At returns the row at a position of a room.
func (s *Service) At(ctx context.Context, room string, p Pos) (*EventRow, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: EventKey(room, p)}, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", p, room, err)
	}
	return DecodeEvent(it)
}

// Range returns rows of a room in order: those in (from, to], oldest first, or
// newest first if reverse, at most limit of them (0: all).
func (s *Service) Range(ctx context.Context, room string, from, to Pos, reverse bool, limit int) ([]*EventRow, error) {
	if from >= to {
		return nil, nil
	}
	var rows []*EventRow
	q := store.Query{
		Table: store.Rooms, Part: RoomPart(room), From: eventPre + (from + 1).String(), To: eventPre + to.String(),
		Reverse: reverse, Limit: limit, Consistency: store.Consistent,
	}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read events of %s: %w", room, err)
		}
		r, err := DecodeEvent(it)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// Index returns the index rows of those of the events that are known, by id.
func (s *Service) Index(ctx context.Context, ids []string) (map[string]*IndexRow, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	refs := make([]store.Ref, len(ids))
	for i, id := range ids {
		refs[i] = store.Ref{Table: store.Events, Key: IndexKey(id)}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read event index: %w", err)
	}
	rows := make(map[string]*IndexRow, len(items))
	for _, it := range items {
		r := &IndexRow{ID: it.Key.Part[len(eventTable):]}
		if err := store.Decode(it, r); err != nil {
			return nil, err
		}
		rows[r.ID] = r
	}
	return rows, nil
}

// EventsByID returns the accepted events of the room among ids, by id.
func (s *Service) EventsByID(ctx context.Context, room string, ids []string) (map[string]*EventRow, error) {
	return s.eventsAt(ctx, room, ids, nil, false)
}

// KnownEvents is EventsByID with the events that have no position: outliers,
// rejected and soft-failed ones. It is for those who write rooms, and for nothing
// that is shown to anybody.
func (s *Service) KnownEvents(ctx context.Context, room string, ids []string) (map[string]*EventRow, error) {
	return s.eventsAt(ctx, room, ids, nil, true)
}

// A Mark says that an event is to be redacted by another.
type Mark struct {
	ID  string // of the redaction
	Pos Pos
}

// RedactionsOf returns the redactions that name an event, whether they may redact
// it or not, at most limit of them.
func (s *Service) RedactionsOf(ctx context.Context, room, eventID string, limit int) ([]Mark, error) {
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Limit: limit, Consistency: store.Consistent}.
		Prefix(redactPre + eventID + "#")
	var marks []Mark
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read redactions of %s: %w", eventID, err)
		}
		marks = append(marks, Mark{it.Key.Sort[len(redactPre)+len(eventID)+1:], Pos(it.Int("pos"))})
	}
	return marks, nil
}

// manyState is how many pieces of state make it worth reading the rows of the
// current state, some 30 of which are a read unit, to save a read of the index
// for each.
const manyState = 20

// stateEventsByID is EventsByID for what may be much of the room's state, with
// those events that are in the state and have no position: other servers told of
// them when this one did not have the room's history.
func (s *Service) stateEventsByID(ctx context.Context, room string, ids []string) (map[string]*EventRow, error) {
	if len(ids) < manyState {
		return s.eventsAt(ctx, room, ids, nil, true)
	}
	hints := make(map[string]Pos, len(ids)) // the position of an event stays, whatever became of the state
	for _, prefix := range []string{statePre, memberPre} {
		rows, err := s.stateRows(ctx, room, prefix, 0)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Pos != 0 {
				hints[r.ID] = r.Pos
			}
		}
	}
	return s.eventsAt(ctx, room, ids, hints, true)
}

// eventsAt is EventsByID with hints where some of the events are, and with those
// that have no position if unplaced.
func (s *Service) eventsAt(ctx context.Context, room string, ids []string, hints map[string]Pos, unplaced bool) (map[string]*EventRow, error) {
	rows := make(map[string]*EventRow, len(ids))
	at := make(map[string]place, len(ids))
	var unknown []string
	for _, eventID := range ids {
		if p, ok := hints[eventID]; ok {
			at[eventID] = place{room, p}
		} else if p, ok := s.places.get(eventID); ok {
			at[eventID] = p
		} else {
			unknown = append(unknown, eventID)
		}
	}
	if len(unknown) == 0 && len(ids) > 0 {
		// A warm process is allowed what a cold one is.
		if err := grant.Check(ctx, grant.Table, store.Events.Name, grant.Read); err != nil {
			return nil, err
		}
	}
	if len(unknown) > 0 {
		index, err := s.Index(ctx, unknown)
		if err != nil {
			return nil, err
		}
		for _, r := range index {
			if r.Pos != 0 {
				at[r.ID] = place{r.Room, r.Pos}
				s.places.put(r.ID, at[r.ID], len(r.ID)+len(r.Room)+100)
			} else if unplaced && r.Room == room {
				rows[r.ID] = r.unplaced()
			}
		}
	}
	var refs []store.Ref
	for _, p := range at {
		if p.room == room {
			refs = append(refs, store.Ref{Table: store.Rooms, Key: EventKey(room, p.pos)})
		}
	}
	found, err := s.rowsOf(ctx, room, refs)
	for _, r := range found {
		rows[r.ID] = r
	}
	return rows, err
}

// rowsOf reads E# rows of a room, in no order; what is not there is left out.
func (s *Service) rowsOf(ctx context.Context, room string, refs []store.Ref) ([]*EventRow, error) {
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", room, err)
	}
	rows := make([]*EventRow, len(items))
	for i, it := range items {
		if rows[i], err = DecodeEvent(it); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Loader reads the state chunks of a room, through the cache.
func (s *Service) Loader(room string) trie.Loader { return loader{s, room} }

type loader struct {
	s    *Service
	room string
}

// Load implements trie.Loader. Chunks are immutable and addressed by content,
// so an eventual read is right whenever it finds the chunk; what it misses is
// read again consistently.
func (l loader) Load(ctx context.Context, hashes []trie.Hash) (map[trie.Hash][]byte, error) {
	found := make(map[trie.Hash][]byte, len(hashes))
	var missing []store.Ref
	for _, h := range hashes {
		if data, ok := l.s.chunks.get(chunkID{l.room, h}); ok {
			found[h] = data
		} else {
			missing = append(missing, store.Ref{Table: store.Rooms, Key: ChunkKey(l.room, h)})
		}
	}
	for _, c := range []store.Consistency{store.Eventual, store.Consistent} {
		if len(missing) == 0 {
			break
		}
		items, err := store.GetAll(ctx, l.s.DB, missing, c)
		if err != nil {
			return nil, fmt.Errorf("read state chunks of %s: %w", l.room, err)
		}
		for _, it := range items {
			h, err := trie.ParseHash(it.Key.Sort)
			if err != nil {
				return nil, err
			}
			found[h] = it.Bytes("b")
			l.s.chunks.put(chunkID{l.room, h}, found[h], len(found[h])+64)
		}
		missing = slices.DeleteFunc(missing, func(r store.Ref) bool {
			h, _ := trie.ParseHash(r.Key.Sort)
			return found[h] != nil
		})
	}
	return found, nil
}

// StateIDs returns the event ids of those of the keys that are set in a state.
func (s *Service) StateIDs(ctx context.Context, room string, r trie.Root, keys []auth.Key) (map[auth.Key]string, error) {
	ks := make([]trie.Key, len(keys))
	for i, k := range keys {
		ks[i] = trie.Key(k)
	}
	ids, err := trie.Lookup(ctx, s.Loader(room), room, r, ks)
	if err != nil {
		return nil, fmt.Errorf("look up state of %s: %w", room, err)
	}
	out := make(map[auth.Key]string, len(ids))
	for k, id := range ids {
		out[auth.Key(k)] = id
	}
	return out, nil
}

// Views returns the auth views of those of the keys that are set in a state: what
// the authorisation rules ask for, in one batch.
func (s *Service) Views(ctx context.Context, room string, r trie.Root, keys []auth.Key) (auth.StateMap, error) {
	ids, err := s.StateIDs(ctx, room, r, keys)
	if err != nil {
		return nil, err
	}
	views, err := s.ViewsByID(ctx, slices.Collect(maps.Values(ids)))
	if err != nil {
		return nil, err
	}
	state := make(auth.StateMap, len(ids))
	for k, id := range ids {
		if state[k] = views[id]; state[k] == nil {
			return nil, fmt.Errorf("state of %s names the unknown event %s", room, id)
		}
	}
	return state, nil
}

// ViewsByID returns the auth views of those of the events that are known, by id.
// Compare their rooms before trusting ids that came from a stranger.
func (s *Service) ViewsByID(ctx context.Context, ids []string) (map[string]*auth.View, error) {
	views := make(map[string]*auth.View, len(ids))
	var missing []string
	for _, id := range ids {
		if v, ok := s.views.get(id); ok {
			views[id] = v
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		// A warm process is allowed what a cold one is.
		return views, grant.Check(ctx, grant.Table, store.Events.Name, grant.Read)
	}
	index, err := s.Index(ctx, missing)
	if err != nil {
		return nil, err
	}
	for id, row := range index {
		v, err := auth.Decode(row.View)
		if err != nil {
			return nil, fmt.Errorf("auth view of %s: %w", id, err)
		}
		views[id] = v
		// Whether an accepted event is rejected cannot change any more, so its view
		// may be kept.
		if row.Pos != 0 {
			s.views.put(id, v, len(row.View)+200)
		}
	}
	return views, nil
}

// StateEvents returns the events of those of the keys that are set in a state, in
// no order; without keys, all of them.
func (s *Service) StateEvents(ctx context.Context, room string, r trie.Root, keys ...auth.Key) ([]*EventRow, error) {
	var ids []string
	if len(keys) > 0 {
		found, err := s.StateIDs(ctx, room, r, keys)
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			ids = append(ids, id)
		}
	} else {
		err := trie.Walk(ctx, s.Loader(room), room, r, trie.WalkAll, func(e trie.Entry) bool {
			ids = append(ids, e.EventID)
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("walk state of %s: %w", room, err)
		}
	}
	rows, err := s.stateEventsByID(ctx, room, ids)
	if err != nil {
		return nil, err
	}
	out := make([]*EventRow, 0, len(rows))
	for _, r := range rows {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *EventRow) int { return cmp.Compare(a.Pos, b.Pos) })
	return out, nil
}
