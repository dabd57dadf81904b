package rooms

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// SetState sends a state event. One that would say again what its sender said is
// the event that is there already, so that a repeated request changes nothing. An
// alias that m.room.canonical_alias names for the first time must exist and point
// to the room, whoever is invited must be reachable, and no room replaces itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
func (s *Service) SetState(ctx context.Context, room string, d Draft) (Sent, error) {
	if d.Type == "m.room.canonical_alias" && *d.StateKey == "" {
		if err := s.checkAliases(ctx, room, d); err != nil {
			return Sent{}, err
		}
	}
	if err := checkTombstone(room, d); err != nil {
		return Sent{}, err
	}
	if d.Type == typeMember && membershipOf(d.Content) == "invite" {
		if err := s.checkInvitee(ctx, d.Sender, *d.StateKey); err != nil {
			return Sent{}, err
		}
	}
	if d.Type == typeMember {
		d.Content = unauthorised(d.Content)
	}
	var same *Sent
	sent, err := s.append(ctx, room, d.Sender, func(ctx context.Context, b *batch) (err error) {
		if same, err = b.said(ctx, d); err != nil {
			return err
		}
		d := d
		if d.Type == typeMember && *d.StateKey == d.Sender && membershipOf(d.Content) == "join" {
			if d.Content, err = b.authoriseJoin(ctx, d.Sender, d.Content); err != nil {
				return err
			}
		}
		if err := b.add(ctx, d); err != nil {
			return err // also for what the sender might not say again
		}
		if same != nil {
			b.sent = nil
		}
		return nil
	})
	if err != nil {
		return Sent{}, hide(err, room)
	}
	if len(sent) > 0 {
		return sent[0], nil
	}
	// Said before, perhaps by a request that died before it told the log.
	return *same, s.Log.Moved(ctx, d.Sender, room, same.Pos, s.Timeline.Unread(room))
}

// said returns the event of the current state that has the sender and the content
// of the draft, or nil.
func (b *batch) said(ctx context.Context, d Draft) (*Sent, error) {
	rows, err := b.s.Timeline.StateEvents(ctx, b.room, b.head.CurrentRoot(), auth.Key{Type: d.Type, StateKey: *d.StateKey})
	if err != nil || len(rows) == 0 || rows[0].Redacted != "" {
		return nil, err
	}
	e, err := rows[0].Event()
	if err != nil {
		return nil, err
	}
	content, err := canonicaljson.Encode(d.Content, b.v.JSONMode())
	if err != nil || e.Sender != d.Sender || !bytes.Equal(content, e.Content) {
		return nil, nil // an error is add's to tell
	}
	return &Sent{ID: e.ID, Pos: rows[0].Pos}, nil
}

type canonicalAlias struct {
	Alias string   `json:"alias"`
	Alt   []string `json:"alt_aliases"`
}

func (s *Service) checkAliases(ctx context.Context, room string, d Draft) error {
	var next, now canonicalAlias
	if err := json.Unmarshal(d.Content, &next); err != nil {
		return mxerr.BadJSON("alias must be a string, and alt_aliases a list of strings.")
	}
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return notThere(err, room)
	}
	rows, err := s.Timeline.StateEvents(ctx, room, head.CurrentRoot(), auth.Key{Type: d.Type})
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		e, err := rows[0].Event()
		if err != nil {
			return err
		}
		_ = json.Unmarshal(e.Content, &now) // what is there may be anything
	}
	known := map[string]bool{"": true, now.Alias: true}
	for _, a := range now.Alt {
		known[a] = true
	}
	for _, a := range append(next.Alt, next.Alias) {
		if known[a] {
			continue
		}
		if !id.ValidAlias(a) {
			return mxerr.InvalidParam("%q is not a room alias.", a)
		}
		found, err := s.Directory.Lookup(ctx, a)
		if err != nil && !mxerr.Is(err, "M_NOT_FOUND") {
			return err
		}
		if err != nil || found.Room != room {
			return mxerr.New(http.StatusBadRequest, "M_BAD_ALIAS", "The alias %s does not point to this room.", a)
		}
	}
	return nil
}

// checkTombstone refuses to replace a room by itself: clients would follow it in a
// circle.
func checkTombstone(room string, d Draft) error {
	var c struct {
		To string `json:"replacement_room"`
	}
	if d.Type == typeTombstone && json.Unmarshal(d.Content, &c) == nil && c.To == room {
		return mxerr.InvalidParam("A room cannot be replaced by itself.")
	}
	return nil
}

// Redact strips an event of its content. Users may redact their own events if
// they may send redactions, and those of others with the level for it. Nobody
// may redact what the room stands on, or an m.room.server_acl: without its
// content it keeps out all servers.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
func (s *Service) Redact(ctx context.Context, room, target, reason string, sender string, txn Txn) (Sent, error) {
	content := map[string]string{}
	if reason != "" {
		content["reason"] = reason
	}
	sent, err := s.append(ctx, room, sender, func(ctx context.Context, b *batch) error {
		if txn.ID != "" {
			key := txnKey(room, &Draft{Type: typeRedaction, Sender: sender, Redacts: target, Txn: txn})
			b.txn = &key
		}
		rows, err := s.Timeline.EventsByID(ctx, room, []string{target})
		if err != nil {
			return err
		}
		state, err := b.state(ctx, []auth.Key{createKey, levelsKey, memberKey(sender)})
		if err != nil {
			return err
		}
		if me := state[memberKey(sender)]; me == nil || me.Content.Membership != "join" {
			return mxerr.Forbidden("You are not in the room %s.", room)
		}
		if rows[target] == nil {
			if elsewhere, err := s.Timeline.Index(ctx, []string{target}); err != nil {
				return err
			} else if row := elsewhere[target]; row != nil && row.Room != room {
				return mxerr.InvalidParam("The event %s is in another room.", target)
			}
			return mxerr.NotFound("There is no event %s in the room.", target)
		}
		e, err := rows[target].Event()
		if err != nil {
			return err
		}
		if e.Type == typeCreate || e.Type == "m.room.server_acl" {
			return mxerr.Forbidden("An %s event cannot be redacted.", e.Type)
		}
		if levels := auth.Levels(b.v, state); e.Sender != sender && levels.UserLevel(sender) < levels.Redact() {
			return mxerr.Forbidden("You may not redact the events of others in this room.")
		}
		return b.add(ctx, Draft{Type: typeRedaction, Sender: sender, Content: raw(content), Redacts: target, Txn: txn})
	})
	if err != nil {
		return Sent{}, hide(err, room)
	}
	return sent[0], nil
}

// ListsAliases is what AliasesOf uses.
var ListsAliases = grant.Of(directory.Reads, userlog.Reads)

// AliasesOf lists the local aliases of a room, for its members and, if its
// history is world readable, for everybody.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
func (s *Service) AliasesOf(ctx context.Context, user, room string) ([]string, error) {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return nil, notThere(err, room)
	}
	if head.Visibility != "w" {
		c, err := s.Log.Cursor(ctx, user, room)
		if err != nil {
			return nil, err
		}
		if c.Membership != "join" {
			return nil, mxerr.Forbidden("You are not in the room %s.", room)
		}
	}
	return s.Directory.OfRoom(ctx, room)
}

// AddsAliases is what AddAlias uses, and RemovesAliases what RemoveAlias does.
var (
	AddsAliases    = grant.Of(userlog.Reads, grant.WriteTable("rooms"))
	RemovesAliases = grant.Of(Writes, directory.Writes)
)

// AddAlias makes an alias for a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
func (s *Service) AddAlias(ctx context.Context, user, alias, room string) error {
	if err := s.Directory.CheckNew(alias); err != nil {
		return err
	}
	if !id.ValidRoom(room) {
		return mxerr.InvalidParam("%q is not a room id.", room)
	}
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return err
	}
	if c.Membership != "join" {
		return mxerr.Forbidden("You are not in the room %s.", room)
	}
	return s.Directory.Add(ctx, directory.Alias{Alias: alias, Room: room, Creator: user})
}

// RemoveAlias deletes an alias. Its creator may, and whoever may set the room's
// canonical alias; if the room names the alias and the user may, it stops doing
// so.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
func (s *Service) RemoveAlias(ctx context.Context, user, alias string) error {
	a, err := s.Directory.Lookup(ctx, alias)
	if err != nil {
		return err
	}
	may := false
	head, err := s.Timeline.Head(ctx, a.Room)
	if err != nil && !mxerr.Is(err, "M_NOT_FOUND") {
		return err
	}
	if err == nil {
		if may, err = s.maySend(ctx, user, a.Room, head, "m.room.canonical_alias"); err != nil {
			return err
		}
	}
	if a.Creator != user && !may {
		return mxerr.Forbidden("You may not delete the alias %s; its creator and moderators of its room may.", alias)
	}
	if err := s.Directory.Remove(ctx, a); err != nil {
		return err
	}
	if !may {
		return nil
	}
	return s.dropCanonical(ctx, user, a)
}

// maySend reports whether a user is in a room that stands at head, with the level
// for state of a type.
func (s *Service) maySend(ctx context.Context, user, room string, head *timeline.Head, typ string) (bool, error) {
	state, err := s.Timeline.Views(ctx, room, head.CurrentRoot(), []auth.Key{createKey, levelsKey, memberKey(user)})
	if err != nil {
		return false, err
	}
	me := state[memberKey(user)]
	return me != nil && me.Content.Membership == "join" && auth.Levels(head.V(), state).CanSend(user, typ, true), nil
}

// dropCanonical takes an alias out of the room's m.room.canonical_alias.
func (s *Service) dropCanonical(ctx context.Context, user string, a directory.Alias) error {
	_, err := s.append(ctx, a.Room, user, func(ctx context.Context, b *batch) error {
		rows, err := s.Timeline.StateEvents(ctx, a.Room, b.head.CurrentRoot(), auth.Key{Type: "m.room.canonical_alias"})
		if err != nil || len(rows) == 0 {
			return err
		}
		e, err := rows[0].Event()
		if err != nil {
			return err
		}
		var c canonicalAlias
		var content map[string]json.RawMessage // with what clients may have added
		if json.Unmarshal(e.Content, &c) != nil || json.Unmarshal(e.Content, &content) != nil {
			return nil
		}
		named := c.Alias == a.Alias
		if named {
			delete(content, "alias")
		}
		var alt []string
		for _, x := range c.Alt {
			if x != a.Alias {
				alt = append(alt, x)
			}
		}
		if !named && len(alt) == len(c.Alt) {
			return nil
		}
		if delete(content, "alt_aliases"); len(alt) > 0 {
			content["alt_aliases"] = raw(alt)
		}
		empty := ""
		return b.add(ctx, Draft{Type: e.Type, Sender: user, StateKey: &empty, Content: raw(content)})
	})
	return err
}
