package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/ksuid"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// Creation is a request for a new room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
type Creation struct {
	Creator       string
	Version       string // empty: roomversion.Default
	Preset        string // empty: by Public
	Public        bool
	AliasName     string
	Name          string
	Topic         string
	Invite        []string
	IsDirect      bool
	Content       map[string]json.RawMessage
	InitialState  []StateEvent
	PowerOverride map[string]json.RawMessage

	// claim goes in the transaction that opens the room, with the attributes that
	// claimed makes of the room's id; if its condition fails the room is given up,
	// with errClaimed.
	claim   *store.Write
	claimed func(room string) store.Attrs
}

// StateEvent is a state event of initial_state.
type StateEvent struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// Creates is what Create uses.
var Creates = grant.Of(Writes, directory.Writes, federation.MakesKey, grant.WriteTable("server"))

// EndsCreations is what EndAbandonedCreations uses.
var EndsCreations = grant.Of(grant.ReadTable("rooms", "server"), grant.WriteTable("rooms", "events", "server"))

// perTransaction is how many events of a new room go in one transaction.
const perTransaction = 8

// abandonedAfter is how long a creation may take.
const abandonedAfter = time.Hour

func creatingKey(room string) store.Key { return store.Key{Part: "CREATING", Sort: room} }

// CreatableVersions lists the room versions that a client may ask for.
func CreatableVersions() []string {
	var versions []string
	for _, v := range roomversion.All() {
		if v.Stable {
			versions = append(versions, v.ID)
		}
	}
	return versions
}

// Create makes a room and returns its id. The room is there for everybody,
// complete, when the last of its transactions is committed, and for nobody
// before. Invites follow one by one.
func (s *Service) Create(ctx context.Context, c Creation) (string, error) {
	if c.Version == "" {
		c.Version = roomversion.Default
	}
	if !slices.Contains(CreatableVersions(), c.Version) {
		return "", mxerr.New(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "This server does not create rooms of version %q; it creates versions %s.", c.Version, strings.Join(CreatableVersions(), ", "))
	}
	if c.Preset == "" {
		c.Preset = "private_chat"
		if c.Public {
			c.Preset = "public_chat"
		}
	}
	slices.Sort(c.Invite)
	c.Invite = slices.Compact(c.Invite)
	for _, user := range c.Invite {
		if err := s.checkInvitee(ctx, c.Creator, user); err != nil {
			return "", err
		}
	}
	alias := ""
	if c.AliasName != "" {
		alias = "#" + c.AliasName + ":" + s.ServerName
		if err := s.Directory.CheckNew(alias); err != nil {
			return "", err
		}
		if _, err := s.Directory.Lookup(ctx, alias); err == nil {
			return "", directory.InUse(http.StatusBadRequest, "M_ROOM_IN_USE", alias)
		} else if !mxerr.Is(err, "M_NOT_FOUND") {
			return "", err
		}
	}
	drafts, err := s.firstEvents(ctx, c, alias)
	if err != nil {
		return "", err
	}
	room, err := s.create(ctx, c, alias, drafts)
	for try := int64(1); errors.Is(err, errTwin) && try < maxTries; try++ {
		drafts[0].OriginServerTS = clock.Millis(s.Clock.Now()) + try
		room, err = s.create(ctx, c, alias, drafts)
	}
	if err != nil {
		return "", err
	}
	for _, user := range c.Invite {
		err := s.Invite(ctx, room, Membership{Sender: c.Creator, Target: user, IsDirect: c.IsDirect})
		// The room exists by now. Whoever may not be invited under the power levels
		// that were asked for is left out.
		if err != nil && mxerr.As(err) == nil {
			return "", err
		}
	}
	return room, nil
}

// errTwin means that there is a room with this very create event. From room
// version 12 on the hash of the event is the room's id, and two rooms that one
// user makes within a millisecond would start with the same event.
var errTwin = errors.New("a room with the same create event")

// errClaimed means that somebody else was first with what the room was made for.
var errClaimed = errors.New("claimed by another room")

func (s *Service) create(ctx context.Context, c Creation, alias string, drafts []Draft) (string, error) {
	room := ""
	if v, _ := roomversion.Get(c.Version); !v.HashRoomIDs {
		kid, err := ksuid.NewRandomWithTime(s.Clock.Now())
		if err != nil {
			return "", fmt.Errorf("make room id: %w", err)
		}
		room = "!" + kid.String() + ":" + s.ServerName
	}
	head := &timeline.Head{RoomVersion: c.Version, Visibility: "s", Creating: len(drafts) > perTransaction}
	held := map[string]store.Write{} // cursors, until the room is open
	concerns := map[string]timeline.Pos{}
	for chunk := range slices.Chunk(drafts, perTransaction) {
		b, err := s.newBatch(ctx, room, head)
		if err != nil {
			return "", err
		}
		for _, d := range chunk {
			if err := b.add(ctx, d); err != nil {
				if room != "" {
					_ = s.abandon(ctx, room) // else the sweeper does it
				}
				return "", creationError(err)
			}
		}
		if err := b.finish(ctx); err != nil {
			return "", err
		}
		first, last := room == "" || head.Version == 0, len(b.sent) < perTransaction || chunk[len(chunk)-1].last
		room = b.room
		maps.Copy(held, b.cursors)
		maps.Copy(concerns, b.concerns)
		b.cursors = nil
		if first && head.Creating {
			mark := store.Put(store.Server, creatingKey(room), store.Attrs{"at": clock.Millis(s.Clock.Now())})
			if _, err := s.DB.Write(ctx, mark); err != nil {
				return "", fmt.Errorf("mark creation of %s: %w", room, err)
			}
		}
		aliasAt, claimAt := -1, -1
		if last {
			b.cursors = held
			b.writes = append(b.writes, indexWrite(room, s.Clock.Now()))
			if b.head.Creating {
				b.head.Creating = false
				b.writes = append(b.writes, store.Delete(store.Server, creatingKey(room)))
			}
			if c.Public {
				b.writes = append(b.writes, directory.PublishWrite(room))
			}
			if c.claim != nil {
				claimAt = len(b.writes) + 1
				claim := *c.claim
				claim.Attrs = c.claimed(room)
				b.writes = append(b.writes, claim)
			}
			if alias != "" {
				aliasAt = len(b.writes) + 1
				b.writes = append(b.writes, directory.NewWrites(directory.Alias{Alias: alias, Room: room, Creator: c.Creator})...)
			}
		}
		if err := b.commitPatiently(ctx); err != nil {
			if f := store.Failed(err); f != nil && first && f.Failed[0].Exists() {
				return "", errTwin
			}
			if f := store.Failed(err); f != nil && claimAt > 0 {
				if _, failed := f.Failed[claimAt]; failed {
					_ = s.abandon(ctx, room) // else the sweeper does it
					return "", errClaimed
				}
			}
			if f := store.Failed(err); f != nil && aliasAt > 0 && f.Failed[aliasAt].Exists() {
				_ = s.abandon(ctx, room)
				return "", directory.InUse(http.StatusBadRequest, "M_ROOM_IN_USE", alias)
			}
			return "", err
		}
		next := b.head
		head = &next
	}
	for user := range concerns {
		var unread userlog.Counter
		if user != c.Creator { // who made all of it
			unread = s.Timeline.Unread(room)
		}
		if err := s.Log.Moved(ctx, user, room, head.Pos, unread); err != nil {
			return "", err
		}
	}
	if c.Public {
		_ = s.relist(ctx, room) // so that the creator finds it at once; else fan-out does it
	}
	return room, nil
}

// creationError makes a refused event of a new room what the specification calls
// it: the state that was asked for is not possible.
func creationError(err error) error {
	var rule *auth.Error
	if errors.As(err, &rule) {
		return mxerr.New(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "The room cannot start like this: %s", rule.Message)
	}
	return clientError(err)
}

// firstEvents lists the events of a new room in the specification's order.
func (s *Service) firstEvents(ctx context.Context, c Creation, alias string) ([]Draft, error) {
	v, _ := roomversion.Get(c.Version)
	content := maps.Clone(c.Content)
	if content == nil {
		content = map[string]json.RawMessage{}
	}
	content["room_version"] = raw(c.Version)
	delete(content, "creator")
	if !v.SenderCreates {
		content["creator"] = raw(c.Creator)
	}
	if c.Preset == "trusted_private_chat" && v.Creators && len(c.Invite) > 0 {
		var more []string
		if list, ok := content["additional_creators"]; ok {
			if json.Unmarshal(list, &more) != nil {
				return nil, mxerr.BadJSON("additional_creators must be a list of user ids.")
			}
		}
		more = append(more, c.Invite...)
		slices.Sort(more)
		content["additional_creators"] = raw(slices.Compact(more))
	}
	if !v.Creators {
		delete(content, "additional_creators")
	}
	member, err := s.memberContent(ctx, c.Creator, "join", "")
	if err != nil {
		return nil, err
	}
	levels := powerLevels(v, c)
	maps.Copy(levels, c.PowerOverride)

	// State that comes later in this list replaces what comes earlier, in its
	// earlier place, so that each piece of state is one event.
	var drafts []Draft
	at := map[auth.Key]int{}
	set := func(typ, stateKey string, content json.RawMessage) {
		d := Draft{Type: typ, Sender: c.Creator, StateKey: &stateKey, Content: content}
		if i, ok := at[auth.Key{Type: typ, StateKey: stateKey}]; ok {
			drafts[i] = d
			return
		}
		at[auth.Key{Type: typ, StateKey: stateKey}] = len(drafts)
		drafts = append(drafts, d)
	}
	set(typeCreate, "", raw(content))
	set(typeMember, c.Creator, member)
	set("m.room.power_levels", "", raw(levels))
	if alias != "" {
		set("m.room.canonical_alias", "", raw(map[string]string{"alias": alias}))
	}
	joinRule, guests := "invite", "can_join"
	if c.Preset == "public_chat" {
		joinRule, guests = "public", "forbidden"
	}
	set("m.room.join_rules", "", raw(map[string]string{"join_rule": joinRule}))
	set(typeVisibility, "", raw(map[string]string{"history_visibility": "shared"}))
	set("m.room.guest_access", "", raw(map[string]string{"guest_access": guests}))
	for _, e := range c.InitialState {
		if e.Type == "" || len(e.Content) == 0 {
			return nil, mxerr.BadJSON("Each event of initial_state needs a type and a content.")
		}
		if e.Type == typeCreate || e.Type == typeMember {
			return nil, mxerr.New(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "initial_state cannot hold %s events.", e.Type)
		}
		set(e.Type, e.StateKey, e.Content)
	}
	if c.Name != "" {
		set("m.room.name", "", raw(map[string]string{"name": c.Name}))
	}
	if c.Topic != "" {
		set("m.room.topic", "", raw(map[string]any{
			"topic": c.Topic,
			"m.topic": map[string]any{
				"m.text": []map[string]string{{"body": c.Topic}},
			},
		}))
	}
	drafts[len(drafts)-1].last = true
	return drafts, nil
}

// powerLevels are those of a new room before what the client overrides.
func powerLevels(v *roomversion.Version, c Creation) map[string]json.RawMessage {
	tombstone := 100
	users := map[string]int{}
	if v.Creators {
		// Creators are above all levels, and may not be listed. An upgrade of the
		// room must be out of the reach of those who may change other state.
		tombstone = 150
	} else {
		users[c.Creator] = 100
		if c.Preset == "trusted_private_chat" {
			for _, user := range c.Invite {
				users[user] = 100
			}
		}
	}
	return map[string]json.RawMessage{
		"users": raw(users), "users_default": raw(0),
		"events": raw(map[string]int{
			"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
			"m.room.power_levels": 100, typeVisibility: 100, "m.room.encryption": 100,
			"m.room.server_acl": 100, "m.room.tombstone": tombstone,
		}),
		"events_default": raw(0), "state_default": raw(50),
		"ban": raw(50), "kick": raw(50), "redact": raw(50), "invite": raw(0),
		"notifications": raw(map[string]int{"room": 50}),
	}
}

// abandon removes what there is of a room that was never opened.
func (s *Service) abandon(ctx context.Context, room string) error {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: timeline.HeadKey(room)}, store.Consistent)
	switch {
	case errors.Is(err, store.ErrNotFound):
		_, err := s.DB.Write(ctx, store.Delete(store.Server, creatingKey(room)))
		return err
	case err != nil:
		return err
	case !it.Bool("cr"):
		// It was opened. The mark can only be that of a twin.
		_, err := s.DB.Write(ctx, store.Delete(store.Server, creatingKey(room)))
		return err
	}
	// From here on no transaction of the creator can succeed.
	stop := store.Update(store.Rooms, timeline.HeadKey(room)).Add(timeline.HeadVersion, 1).
		If(store.Equal(timeline.HeadVersion, it.Int(timeline.HeadVersion)))
	if _, err := s.DB.Write(ctx, stop); err != nil {
		return fmt.Errorf("end creation of %s: %w", room, err)
	}
	parts := []string{timeline.RoomPart(room)}
	parts = append(parts, timeline.ChunkParts(room)...)
	for i, part := range parts {
		for it, err := range store.All(ctx, s.DB, store.Query{Table: store.Rooms, Part: part, Consistency: store.Consistent}) {
			if err != nil {
				return err
			}
			if i == 0 && it.Key.Sort == timeline.HeadSort {
				continue // last, so that a kill leaves something to find the rest by
			}
			if eventID := it.Str("id"); i == 0 && eventID != "" {
				if _, err := s.DB.Write(ctx, store.Delete(store.Events, timeline.IndexKey(eventID))); err != nil {
					return err
				}
			}
			if _, err := s.DB.Write(ctx, store.Delete(store.Rooms, it.Key)); err != nil {
				return err
			}
		}
	}
	if _, err := s.DB.Write(ctx, store.Delete(store.Rooms, timeline.HeadKey(room))); err != nil {
		return err
	}
	_, err = s.DB.Write(ctx, store.Delete(store.Server, creatingKey(room)))
	return err
}

// EndAbandonedCreations removes rooms whose creation was killed between two
// transactions. One that cannot be ended now does not keep the others.
func (s *Service) EndAbandonedCreations(ctx context.Context) error {
	before := clock.Millis(s.Clock.Now().Add(-abandonedAfter))
	var errs []error
	for it, err := range store.All(ctx, s.DB, store.Query{Table: store.Server, Part: "CREATING", Consistency: store.Consistent}) {
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list creations: %w", err))...)
		}
		if it.Int("at") > before {
			continue
		}
		if err := s.abandon(ctx, it.Key.Sort); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own values come here
	}
	return b
}
