package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// replacement is the last upgrade of a room: the row UPGRADE of its partition,
// written in the transaction that opens the new room. By it a request that is
// repeated, also after a kill, goes on with the room that there is. If it were
// lost, a repeated request would make another room.
type replacement struct {
	To       string `db:"to"`
	By       string `db:"by"`
	Version  string `db:"rv"`
	Creators string `db:"cr"` // separated by spaces
}

func upgradeKey(room string) store.Key {
	return store.Key{Part: timeline.RoomPart(room), Sort: "UPGRADE"}
}

// Upgrade replaces a room by one of another version, in which creators stand
// beside the user if that version has them, and returns the new room. To repeat it
// does what is left to do and returns the same room; to ask for another version,
// or for other creators, replaces the room anew.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Service) Upgrade(ctx context.Context, user, room, version string, creators []string) (string, error) {
	if !slices.Contains(CreatableVersions(), version) {
		return "", mxerr.New(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "This server does not create rooms of version %q; it creates versions %s.", version, strings.Join(CreatableVersions(), ", "))
	}
	v, _ := roomversion.Get(version)
	if !v.Creators {
		creators = nil
	}
	creators = slices.Clone(creators)
	slices.Sort(creators)
	creators = slices.DeleteFunc(slices.Compact(creators), func(c string) bool { return c == user })
	for _, c := range creators {
		if !id.ValidUser(c) {
			return "", mxerr.InvalidParam("%q is not a user id.", c)
		}
	}
	for range maxTries {
		head, err := s.Timeline.Head(ctx, room)
		if err != nil {
			return "", notThere(err, room)
		}
		may, err := s.maySend(ctx, user, room, head, typeTombstone)
		if err != nil {
			return "", err
		}
		if !may {
			return "", mxerr.Forbidden("You may not upgrade this room.")
		}
		last, err := s.replacedBy(ctx, room)
		if err != nil {
			return "", err
		}
		next := replacement{By: user, Version: version, Creators: strings.Join(creators, " "), To: last.To}
		if last != next || last.To == "" {
			next.To, err = s.replace(ctx, room, head, last, next, creators)
			if errors.Is(err, errClaimed) {
				continue // somebody upgrades it at the same time
			}
			if err != nil {
				return "", err
			}
		}
		return next.To, s.retire(ctx, user, room, next.To)
	}
	return "", errBusy
}

const typeTombstone = "m.room.tombstone"

func (s *Service) replacedBy(ctx context.Context, room string) (replacement, error) {
	var r replacement
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: upgradeKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read upgrade of %s: %w", room, err)
	}
	return r, store.Decode(it, &r)
}

// replace makes the new room, complete with what it takes over. Nobody sees it
// before it is open, and it is open only if nobody else was first.
func (s *Service) replace(ctx context.Context, room string, head *timeline.Head, last, next replacement, creators []string) (string, error) {
	p, err := s.Directory.Publication(ctx, room)
	if err != nil {
		return "", err
	}
	drafts, err := s.heritage(ctx, room, head, next, creators)
	if err != nil {
		return "", err
	}
	c := Creation{Creator: next.By, Version: next.Version, Public: p.Published}
	try := func() (string, error) {
		// The name of the new room is not known before its first event.
		claim := store.Put(store.Rooms, upgradeKey(room), nil)
		if last.To == "" {
			claim = claim.If(store.NotExists())
		} else {
			claim = claim.If(store.Equal("to", last.To))
		}
		c.claim = &claim
		c.claimed = func(to string) store.Attrs { next.To = to; return store.Encode(next) }
		return s.create(ctx, c, "", drafts)
	}
	to, err := try()
	for n := int64(1); errors.Is(err, errTwin) && n < maxTries; n++ {
		drafts[0].OriginServerTS = s.Clock.Now().UnixMilli() + n
		to, err = try()
	}
	return to, err
}

// retire moves the aliases of an upgraded room and its place in the directory to
// the new one, says in the old room where people went, and makes it hard to go on
// there. Each step may be done again. Where the user may not do one of the last,
// that stays as it is.
func (s *Service) retire(ctx context.Context, user, room, to string) error {
	aliases, err := s.Directory.OfRoom(ctx, room)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := s.Directory.Move(ctx, a, room, to); err != nil {
			return err
		}
	}
	empty := ""
	say := func(typ string, content any) error {
		_, err := s.SetState(ctx, room, Draft{Type: typ, Sender: user, StateKey: &empty, Content: raw(content)})
		return err
	}
	if err := say(typeTombstone, map[string]string{"body": "This room has been replaced", "replacement_room": to}); err != nil {
		return err
	}
	if err := s.unpublish(ctx, room); err != nil {
		return err
	}
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return err
	}
	rows, err := s.Timeline.StateEvents(ctx, room, head.CurrentRoot(), levelsKey, auth.Key{Type: "m.room.canonical_alias"})
	if err != nil {
		return err
	}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return err
		}
		var content map[string]json.RawMessage
		if json.Unmarshal(e.Content, &content) != nil {
			continue
		}
		changed := false
		if e.Type == "m.room.canonical_alias" {
			changed, err = s.dropMoved(ctx, content, to)
		} else {
			changed = restrict(content)
		}
		if err == nil && changed {
			err = say(e.Type, content)
		}
		if err != nil && !mxerr.Is(err, "M_FORBIDDEN") {
			return err
		}
	}
	return nil
}

// dropMoved takes the aliases that point to the new room out of an
// m.room.canonical_alias.
func (s *Service) dropMoved(ctx context.Context, content map[string]json.RawMessage, to string) (changed bool, err error) {
	var c canonicalAlias
	if json.Unmarshal(raw(content), &c) != nil {
		return false, nil
	}
	moved := func(a string) bool {
		found, lookErr := s.Directory.Lookup(ctx, a)
		if lookErr != nil && !mxerr.Is(lookErr, "M_NOT_FOUND") {
			err = lookErr
		}
		return lookErr == nil && found.Room == to
	}
	if c.Alias != "" && moved(c.Alias) {
		delete(content, "alias")
		changed = true
	}
	if alt := slices.DeleteFunc(slices.Clone(c.Alt), moved); len(alt) < len(c.Alt) {
		content["alt_aliases"] = raw(alt)
		changed = true
	}
	return changed, err
}

// restrict raises the levels for messages and invites above that of people without
// one of their own.
func restrict(content map[string]json.RawMessage) (changed bool) {
	level := func(key string) int64 { n, _ := levelNumber(content[key]); return n }
	least := max(50, level("users_default")+1)
	for _, key := range []string{"events_default", "invite"} {
		if level(key) < least {
			content[key] = raw(least)
			changed = true
		}
	}
	return changed
}
